"""The public halves of the keys that sign tokens."""

from __future__ import annotations

import orjson
from starlette.responses import Response

from somagent.api.deps import StateDep, soma_router
from somagent.domain.model import Model

router = soma_router("identity")


class PublicKey(Model):
    """One Ed25519 key (RFC 8037)."""

    kty: str
    crv: str
    x: str
    kid: str
    alg: str
    use: str


class Jwks(Model):
    """A JSON Web Key Set (RFC 7517), newest key first."""

    keys: list[PublicKey]


@router.get("/.well-known/jwks.json", responses={200: {"model": Jwks}})
async def jwks(state: StateDep) -> Response:
    """The keys with which a token can be checked without asking us."""
    state.keyring.refresh()
    return Response(
        orjson.dumps({"keys": state.keyring.public_keys()}),
        media_type="application/json",
        headers={"Cache-Control": "public, max-age=60"},
    )

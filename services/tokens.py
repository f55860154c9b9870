"""Bearer tokens: minted with the deployment's own key, verified once and then remembered until they end."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
import uuid
import warnings
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, Protocol

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from pydantic import ConfigDict, Field, ValidationError

from somagent.adapters.keys import KeyRing, kid_of
from somagent.domain.caller import Caller
from somagent.domain.capabilities import checked_capabilities
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.domain.names import TenantId, UserId, checked_tenant_id, checked_user_id
from somagent.domain.policy.constitution import DEFAULT_HASH

# RFC 9864 renames EdDSA to Ed25519; our tokens keep the name that every client knows.
warnings.filterwarnings("ignore", message="EdDSA is deprecated", category=SecurityWarning)

ALGORITHM = "EdDSA"
API_TTL_SECONDS = 3_600
OPERATOR_TTL_SECONDS = 86_400
_CLOCK_SKEW_SECONDS = 30
_LONGEST_TOKEN = 8_192
_REMEMBERED = 4_096
_REFUSED: Final = {
    Code.TOKEN_REVOKED: "The token was revoked. Get a new one.",
    Code.USER_DISABLED: "The token's user is disabled. An administrator can enable them again.",
}


class Claims(Model):
    """What every token says; anything else in one is ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    sub: UserId
    tenant_id: TenantId
    capabilities: list[str]
    exp: int
    iat: int
    jti: str = Field(min_length=1, max_length=128)
    constitution_hash: str = Field(pattern="^[0-9a-f]{64}$")


def mint(
    keyring: KeyRing,
    tenant_id: str,
    user_id: str,
    capabilities: Iterable[str],
    *,
    ttl: int = API_TTL_SECONDS,
    constitution_hash: str = DEFAULT_HASH,
    not_before: int = 0,
) -> str:
    """A token signed with the newest key.

    Args:
        ttl: seconds until it ends.
        not_before: the earliest second since the epoch that it may say it was issued in (a person's earlier tokens
            may have been cut off in this very second).

    Raises:
        SomaError: ``validation_failed`` for a name that cannot be, or a capability that there is not.
    """
    now = max(int(time.time()), not_before)
    claims = Claims(
        sub=checked_user_id(user_id),
        tenant_id=checked_tenant_id(tenant_id),
        capabilities=list(checked_capabilities(capabilities)),
        exp=now + ttl,
        iat=now,
        jti=str(uuid.uuid4()),
        constitution_hash=constitution_hash,
    )
    keyring.refresh()
    key = keyring.active
    header = {"alg": ALGORITHM, "kid": kid_of(key)}
    return jwt.encode(header, claims.model_dump(), key, algorithms=[ALGORITHM])


class Refusals(Protocol):
    """Whose tokens are refused although their signature holds. Answers from memory."""

    def __call__(self, caller: Caller) -> Code | None:
        """``token_revoked``, ``user_disabled``, or None."""
        ...


class TokenVerifier:
    """Turns a token into its caller. A token seen before costs one hash and one look-up."""

    def __init__(self, keyring: KeyRing, refusals: Refusals = lambda caller: None) -> None:
        """``refusals`` is asked at each use."""
        self._keyring = keyring
        self._refusals = refusals
        self._seen: OrderedDict[bytes, Caller] = OrderedDict()
        self._seen_with = keyring.generation

    def verify(self, token: str) -> Caller:
        """Who the token speaks for.

        Raises:
            SomaError: ``token_invalid``, ``token_expired``, ``token_revoked`` or ``user_disabled``.
        """
        self._keyring.refresh()
        if self._keyring.generation != self._seen_with:
            self._seen.clear()  # what is remembered may be of a key that was retired
            self._seen_with = self._keyring.generation
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        caller = self._seen.get(digest)
        if caller is None:
            caller = self._remember(digest, _caller(self.claims(token)))
        if caller.exp <= time.time():
            self._seen.pop(digest, None)
            raise SomaError(Code.TOKEN_EXPIRED, "The token has expired. Get a new one.")
        refusal = self._refusals(caller)
        if refusal is not None:
            raise SomaError(refusal, _REFUSED[refusal])
        return caller

    def _remember(self, digest: bytes, caller: Caller) -> Caller:
        self._seen[digest] = caller
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return caller

    def claims(self, token: str) -> Claims:
        """What a token says, when its signature holds; it may have expired or been revoked.

        Raises:
            SomaError: ``token_invalid``.
        """
        if len(token) > _LONGEST_TOKEN or not token.isascii():
            raise _invalid("it is not a JSON Web Token")
        key = self._keyring.find(_key_id(token))
        if key is None:
            raise _invalid("it is not signed with a key of this deployment")
        try:
            claims = Claims.model_validate(jwt.decode(token, key, algorithms=[ALGORITHM]).claims)
        except ValidationError as error:
            raise _invalid(f"claim {error.errors()[0]['loc'][0]} is missing or malformed") from error
        except (JoseError, ValueError) as error:
            raise _invalid("its signature or form is wrong") from error
        if claims.iat > time.time() + _CLOCK_SKEW_SECONDS:
            raise _invalid("it says that it was issued in the future")
        return claims


def _caller(claims: Claims) -> Caller:
    return Caller(
        user_id=claims.sub,
        tenant_id=claims.tenant_id,
        capabilities=frozenset(claims.capabilities),
        jti=claims.jti,
        exp=claims.exp,
        iat=claims.iat,
    )


def _key_id(token: str) -> str:
    """The header's ``kid``, after the header's ``alg`` was found to be ours."""
    parts = token.split(".")
    if len(parts) != 3:
        raise _invalid("it is not a JSON Web Token")
    try:
        header = json.loads(base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise _invalid("it is not a JSON Web Token") from error
    if not isinstance(header, dict) or header.get("alg") != ALGORITHM:
        raise _invalid(f"it is not signed with {ALGORITHM}")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise _invalid("it names no key")
    return kid


def _invalid(why: str) -> SomaError:
    return SomaError(Code.TOKEN_INVALID, f"The token is refused: {why}.")

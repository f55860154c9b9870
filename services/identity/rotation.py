"""Signing keys over their life: a new one, what still leans on an old one, and signing that again."""

from __future__ import annotations

from typing import Final

import asyncpg
import orjson

from somagent.adapters.keys import KeyRing
from somagent.domain.canonical import canonical_bytes
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.policy.bundles import CONSTITUTION_PAYLOAD_TYPE
from somagent.domain.policy.constitution import Constitution
from somagent.services.audit.intake import Happening, take_in
from somagent.services.gate.constitutions import EVERYBODY
from somagent.services.identity.users import TOPIC

ACTOR: Final = "operator"
"""Who acts by the command line on the deployment's own machine."""

# What a tenant's people sign verifies with their own key, whatever its name.
_SIGNED: Final = """
SELECT tenant_id FROM (SELECT DISTINCT ON (tenant_id) tenant_id, signer_key_id FROM constitutions
                       ORDER BY tenant_id, version DESC) newest
WHERE signer_key_id = $1
  AND NOT EXISTS (SELECT 1 FROM signing_keys k WHERE k.tenant_id = newest.tenant_id AND k.key_id = $1)
"""
_HEADS: Final = "SELECT count(*) FROM audit_heads WHERE kid = $1"
_NEWEST: Final = """
SELECT content::text AS content, version FROM constitutions WHERE tenant_id = $1 ORDER BY version DESC LIMIT 1
"""
_ADD: Final = """
INSERT INTO constitutions (tenant_id, version, content, hash, signature, signer_key_id)
VALUES ($1, $2, $3::text::jsonb, $4, $5, $6)
"""


async def tell_everybody(connection: asyncpg.Connection, action: str, kid: str) -> None:
    """Record it in each tenant's chain; sealing that signs each chain's head with the newest key."""
    for row in await connection.fetch("SELECT id FROM tenants ORDER BY id"):
        detail: JsonObject = {"kid": kid}
        await take_in(
            connection,
            Happening(tenant_id=row["id"], actor=ACTOR, action=action, object=f"key:{kid}", topic=TOPIC, detail=detail),
        )


async def require_unused(connection: asyncpg.Connection, kid: str) -> None:
    """Insist that nothing in force leans on a key.

    Raises:
        SomaError: ``validation_failed`` while it signs a constitution in force, or the head of an audit chain.
    """
    if await connection.fetch(_SIGNED, kid):
        raise SomaError(
            Code.VALIDATION_FAILED,
            f"The key {kid} signs the deployment's constitution, which is in force: without it nothing governed would "
            "happen. Have it signed again as a new version: somagent keys retire --sign-again.",
        )
    heads = await connection.fetchval(_HEADS, kid)
    if heads:
        raise SomaError(
            Code.VALIDATION_FAILED,
            f"The key {kid} signs the heads of {heads} audit chains. They are signed anew within seconds of "
            "`somagent keys rotate` while the stack runs; try again shortly.",
        )


async def sign_again(connection: asyncpg.Connection, keyring: KeyRing) -> int:
    """Put the deployment's constitution in force as a new version, signed with the newest key. Answers the version.

    Raises:
        SomaError: ``constitution_unverifiable`` where there is none.
    """
    async with connection.transaction():
        row = await connection.fetchrow(_NEWEST, EVERYBODY)
        if row is None:
            raise SomaError(Code.CONSTITUTION_UNVERIFIABLE, "The deployment has no constitution yet.")
        version: int = row["version"] + 1
        constitution = Constitution.model_validate({**orjson.loads(row["content"]), "version": version})
        content: JsonObject = constitution.model_dump(mode="json")
        signature, kid = keyring.sign(CONSTITUTION_PAYLOAD_TYPE, canonical_bytes(content))
        await connection.execute(
            _ADD, EVERYBODY, version, orjson.dumps(content).decode(), constitution.content_hash, signature, kid
        )
        await tell_everybody(connection, "constitution.signed_again", kid)
    return version

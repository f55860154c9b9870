"""The deployment's own constitution, signed with its own key, in force where a tenant has none of its own."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import orjson

from somagent.adapters.keys import KeyRing
from somagent.domain.canonical import canonical_bytes
from somagent.domain.policy.bundles import CONSTITUTION_PAYLOAD_TYPE
from somagent.domain.policy.constitution import DEFAULT
from somagent.services.gate.constitutions import EVERYBODY

_FOUND = """
INSERT INTO constitutions (tenant_id, version, content, hash, signature, signer_key_id)
SELECT $1, $2, $3::text::jsonb, $4, $5, $6 WHERE NOT EXISTS (SELECT 1 FROM constitutions WHERE tenant_id = $1)
ON CONFLICT DO NOTHING
"""


async def found_deployment(owner_url: str, keys: Path) -> None:
    """The same for a database by its address, with the keys of a folder, made where there are none.

    Raises:
        OSError, asyncpg.PostgresError: Postgres does not answer.
    """
    connection = await asyncpg.connect(owner_url, timeout=5)
    try:
        await found(connection, KeyRing(keys))
    finally:
        await connection.close()


async def found(connection: asyncpg.Connection, keyring: KeyRing) -> None:
    """Put the default constitution in force where the deployment has none. Safe to repeat."""
    content = DEFAULT.model_dump(mode="json")
    signature, kid = keyring.sign(CONSTITUTION_PAYLOAD_TYPE, canonical_bytes(content))
    await connection.execute(
        _FOUND, EVERYBODY, DEFAULT.version, orjson.dumps(content).decode(), DEFAULT.content_hash, signature, kid
    )

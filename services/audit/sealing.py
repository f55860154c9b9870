"""Sealing: what was taken in becomes the next entries of its tenant's chain, and the new head is signed.

Hashes are over what Postgres gives back, never over what was handed in: whoever reads the chain later reads the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import asyncpg
import orjson
import structlog
from asyncpg.pool import PoolConnectionProxy

from somagent.adapters.keys import KeyRing
from somagent.adapters.postgres.database import Database
from somagent.domain.audit.chain import GENESIS, HEAD_PAYLOAD_TYPE, entry_hash, head_payload, read_json
from somagent.domain.model import JsonObject
from somagent.domain.times import rfc3339

log = structlog.get_logger(__name__)

BATCH: Final = 500
"""Entries sealed in one transaction."""

# The same lock that soma_seal_audit takes: two that seal one chain do so one after the other, and none in vain.
_WAIT: Final = "SELECT pg_advisory_xact_lock(hashtextextended('audit:' || $1, 0))"
_TRY: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('audit:' || $1, 0))"
_HEAD: Final = "SELECT seq, hash FROM audit_heads WHERE tenant_id = $1"
_TAKE: Final = """
SELECT id, tenant_id, topic, actor, action, object, outcome, detail::text AS detail, request_id, trace_id, occurred_at
FROM audit_intake WHERE tenant_id = $1 ORDER BY id LIMIT $2
"""
_SEAL: Final = "SELECT soma_seal_audit($1, $2::text::jsonb, $3, $4)"
_WAITING: Final = "SELECT DISTINCT tenant_id FROM audit_intake"


class Sealer:
    """Seals chains with the deployment's newest key. Several may work at once, on the same chains too."""

    def __init__(self, database: Database, keyring: KeyRing) -> None:
        self._database = database
        self._keyring = keyring

    async def seal(self, tenant_id: str) -> int:
        """Seal all that was taken in of one tenant before this call; how many entries were added.

        Raises:
            SomaError: ``database_unavailable``.
        """
        total = 0
        async with self._database.connection(tenant_id) as connection:
            while await connection.fetchval("SELECT true FROM audit_intake WHERE tenant_id = $1 LIMIT 1", tenant_id):
                async with connection.transaction():
                    await connection.execute(_WAIT, tenant_id)
                    sealed = await self._seal_batch(connection, tenant_id)
                total += sealed
                if sealed < BATCH:
                    break
        return total

    async def seal_all(self) -> int:
        """Seal a batch of each tenant that has something taken in; how many of them have more.

        Needs role ``soma_system``. A chain that cannot be sealed does not hold up the others.
        """
        tenants = [row["tenant_id"] for row in await self._database.pool.fetch(_WAITING)]
        more = 0
        for tenant_id in tenants:
            try:
                async with self._database.pool.acquire() as connection, connection.transaction():
                    if await connection.fetchval(_TRY, tenant_id):  # else somebody else is at it
                        more += await self._seal_batch(connection, tenant_id) == BATCH
            except Exception as error:
                log.error("audit_not_sealed", tenant_id=tenant_id, error=repr(error))
        return more

    async def _seal_batch(self, connection: asyncpg.Connection | PoolConnectionProxy, tenant_id: str) -> int:
        rows = await connection.fetch(_TAKE, tenant_id, BATCH)
        if not rows:
            return 0
        head = await connection.fetchrow(_HEAD, tenant_id)
        seq, previous = (head["seq"], head["hash"]) if head else (0, GENESIS)
        links = _chained(rows, seq, previous)
        self._keyring.refresh()
        last = links[-1]
        signature, kid = self._keyring.sign(
            HEAD_PAYLOAD_TYPE, head_payload(tenant_id, int(str(last["seq"])), str(last["hash"]))
        )
        sealed = await connection.fetchval(_SEAL, tenant_id, orjson.dumps(links).decode(), signature, kid)
        return len(links) if sealed else 0


def sealed_fields(row: asyncpg.Record) -> JsonObject:
    """A row of the intake or of the chain as its hash is made of it; ``detail`` must come as text."""
    fields: JsonObject = {name: value for name, value in row.items() if name != "id"}
    return {**fields, "occurred_at": rfc3339(row["occurred_at"]), "detail": read_json(row["detail"])}


def _chained(rows: Sequence[asyncpg.Record], seq: int, previous: str) -> list[JsonObject]:
    """The links that rows of the intake become after entry ``seq`` with the hash ``previous``."""
    links: list[JsonObject] = []
    for number, row in enumerate(rows, start=seq + 1):
        digest = entry_hash({**sealed_fields(row), "seq": number, "previous_hash": previous})
        links.append({"intake_id": row["id"], "seq": number, "previous_hash": previous, "hash": digest})
        previous = digest
    return links

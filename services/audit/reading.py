"""Reading a tenant's chain: its entries by what they say, its head, and the whole as one document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg
import orjson
from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import InstrumentedAttribute

from somagent.adapters.keys import KeyRing
from somagent.adapters.postgres.database import Database
from somagent.adapters.postgres.tables import AuditEntry
from somagent.domain.audit.chain import GENESIS
from somagent.domain.audit.export import HEADER_PAYLOAD_TYPE, ExportHead, ExportHeader, SignedHeader
from somagent.domain.errors import Code, SomaError
from somagent.domain.times import rfc3339
from somagent.services.audit.sealing import sealed_fields

_BATCH: Final = 500
_HEAD: Final = "SELECT tenant_id, seq, hash, signature, kid, signed_at FROM audit_heads WHERE tenant_id = $1"
_HASH_OF: Final = "SELECT hash FROM audit_entries WHERE tenant_id = $1 AND seq = $2"
_ENTRIES: Final = """
SELECT tenant_id, seq, occurred_at, topic, actor, action, object, outcome, detail::text AS detail, request_id, trace_id,
  previous_hash, hash
FROM audit_entries WHERE tenant_id = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq
"""


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted; a text that ends in ``*`` is the beginning of what is wanted."""

    actor: str | None = None
    action: str | None = None
    object: str | None = None
    topic: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def statement(self) -> Select[AuditEntry]:
        """The entries of the tenant that the session is bound to."""
        wanted = select(AuditEntry)
        for column, text in (
            (AuditEntry.actor, self.actor),
            (AuditEntry.action, self.action),
            (AuditEntry.object, self.object),
            (AuditEntry.topic, self.topic),
            (AuditEntry.outcome, self.outcome),
        ):
            if text is not None:
                wanted = wanted.where(_matches(column, text))
        if self.since is not None:
            wanted = wanted.where(AuditEntry.occurred_at >= self.since)
        if self.until is not None:
            wanted = wanted.where(AuditEntry.occurred_at < self.until)
        return wanted


def _matches(column: InstrumentedAttribute[str], text: str) -> ColumnElement[bool]:
    return column.startswith(text[:-1], autoescape=True) if text.endswith("*") else column == text


async def read_head(connection: asyncpg.Connection, tenant_id: str) -> ExportHead:
    """The signed end of a tenant's chain.

    Raises:
        SomaError: ``not_found``, while nothing has been sealed.
    """
    row = await connection.fetchrow(_HEAD, tenant_id)
    if row is None:
        raise SomaError(Code.NOT_FOUND, "Nothing has been audited for this tenant yet.")
    return ExportHead.model_validate({**dict(row), "signed_at": rfc3339(row["signed_at"])})


@dataclass(frozen=True, slots=True)
class Export:
    """A document about to be written: everything but its entries."""

    header: SignedHeader
    head: ExportHead
    public_keys: bytes

    async def document(self, database: Database) -> AsyncIterator[bytes]:
        """The document piece by piece, so that a long chain never lies in memory as a whole."""
        yield b'{"header":' + self.header.model_dump_json().encode() + b',"entries":['
        tenant_id, separator = self.header.tenant_id, b""
        for first in range(self.header.first_seq, self.head.seq + 1, _BATCH):
            last = min(first + _BATCH - 1, self.head.seq)
            async with database.connection(tenant_id) as connection:
                rows = await connection.fetch(_ENTRIES, tenant_id, first, last)
            yield separator + b",\n".join(orjson.dumps(sealed_fields(row)) for row in rows)
            separator = b",\n"
        yield b'],"head":' + self.head.model_dump_json().encode() + b',"public_keys":' + self.public_keys + b"}\n"


async def prepare_export(
    connection: asyncpg.Connection, keyring: KeyRing, tenant_id: str, since_seq: int, now: datetime
) -> Export:
    """Everything but the entries of an export that begins at entry ``since_seq``.

    Raises:
        SomaError: ``not_found``, while nothing has been sealed; ``validation_failed``, when the chain is shorter.
    """
    head = await read_head(connection, tenant_id)
    if since_seq > head.seq:
        raise SomaError(Code.VALIDATION_FAILED, f"The chain ends at entry {head.seq}. Ask for an earlier since_seq.")
    previous = GENESIS if since_seq == 1 else await connection.fetchval(_HASH_OF, tenant_id, since_seq - 1)
    header = ExportHeader(
        tenant_id=tenant_id,
        exported_at=rfc3339(now),
        first_seq=since_seq,
        entries=head.seq - since_seq + 1,
        previous_hash=str(previous),
    )
    keyring.find(head.kid)  # a key made by another process since the last look
    signature, kid = keyring.sign(HEADER_PAYLOAD_TYPE, header.payload(), head.kid)
    signed = SignedHeader(**header.model_dump(), signature=signature, kid=kid)
    return Export(signed, head, orjson.dumps(keyring.public_keys()))

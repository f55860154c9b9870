"""Writing, reading by key, and erasing. Every statement runs on a connection bound to the tenant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from somagent.adapters.memory.embedder import Embedded
from somagent.domain.actions.remote import MemoryItem, MemoryProvenance
from somagent.domain.errors import Code, SomaError
from somagent.domain.memory.items import Item, piece_key
from somagent.domain.times import rfc3339
from somagent.services.jobs.store import encode

COLUMNS: Final = """
  id, namespace, key, text, value::text AS value, tags, meta::text AS meta, source, job_id, step_id, created_by,
  created_at
"""
_BATCH: Final = 200
_MOST_PIECES: Final = 200_000

# The id is made here: one derived from the key would meet its equal in the primary key, which is not the index that
# ON CONFLICT watches, and of two first writers one would fail.
_PUT: Final = """
INSERT INTO memories AS kept (id, tenant_id, namespace, key, text, value, tags, meta, embedding, embedding_model,
                              source, job_id, step_id, created_by, created_at, updated_at)
SELECT gen_random_uuid(), $2, item.namespace, item.key, item.text, item.value,
  ARRAY(SELECT jsonb_array_elements_text(item.tags)), item.meta, item.embedding::vector, $3, $4, $5, $6, $7,
  clock_timestamp(), clock_timestamp()
FROM jsonb_to_recordset($1::text::jsonb) AS item(namespace text, key text, text text, value jsonb, tags jsonb,
                                                 meta jsonb, embedding text)
ORDER BY item.namespace, item.key
ON CONFLICT (tenant_id, namespace, key) DO UPDATE SET text = excluded.text, value = excluded.value,
  tags = excluded.tags, meta = excluded.meta, embedding = excluded.embedding,
  embedding_model = excluded.embedding_model, source = excluded.source, job_id = excluded.job_id,
  step_id = excluded.step_id, created_by = excluded.created_by, updated_at = excluded.updated_at
RETURNING id, namespace, key
"""
_PIECES_BEFORE: Final = """
SELECT key, meta->>'pieces' AS pieces FROM memories
WHERE tenant_id = $1 AND namespace = $2 AND key = ANY($3::text[]) AND jsonb_typeof(meta->'pieces') = 'number'
"""
_ERASE_KEYS: Final = "DELETE FROM memories WHERE tenant_id = $1 AND namespace = $2 AND key = ANY($3::text[])"
_BY_KEY: Final = f"""
SELECT {COLUMNS} FROM memories WHERE tenant_id = $1 AND key = $2 AND ($3::text IS NULL OR namespace = $3)
ORDER BY updated_at DESC, id LIMIT 1
"""  # noqa: S608 - constants only
_BY_IDS: Final = f"SELECT {COLUMNS} FROM memories WHERE tenant_id = $1 AND id = ANY($2::uuid[])"  # noqa: S608
_ERASE: Final = "DELETE FROM memories WHERE tenant_id = $1 AND id = $2 RETURNING id"


@dataclass(frozen=True, slots=True)
class Author:
    """Who remembers: the provenance that every item keeps.

    Attributes:
        source: ``job`` or ``api``.
        user_id: the person behind it; a job's submitter.
    """

    source: str
    user_id: str | None = None
    job_id: UUID | None = None
    step_id: str | None = None


async def put(
    connection: asyncpg.Connection, tenant_id: str, author: Author, items: Sequence[Item], embedded: Embedded
) -> list[UUID]:
    """Insert or replace; the ids in the order of ``items``. Of items with the same key, the last one stays."""
    vectors = {(item.namespace, item.key): (item, vector) for item, vector in zip(items, embedded.vectors, strict=True)}
    # Always in the same order, so that two writers of the same keys wait for each other instead of locking up.
    distinct = sorted(vectors.values(), key=lambda pair: (pair[0].namespace, pair[0].key))
    ids: dict[tuple[str, str], UUID] = {}
    for start in range(0, len(distinct), _BATCH):
        rows = [_row(item, vector) for item, vector in distinct[start : start + _BATCH]]
        written = await connection.fetch(
            _PUT, _json(rows), tenant_id, embedded.model, author.source, author.job_id, author.step_id, author.user_id
        )
        ids.update({(row["namespace"], row["key"]): row["id"] for row in written})
    return [ids[item.namespace, item.key] for item in items]


async def drop_later_pieces(
    connection: asyncpg.Connection, tenant_id: str, namespace: str, counts: Mapping[str, int]
) -> None:
    """Forget what is left of documents that have become shorter. ``counts``: how many pieces each path has now."""
    paths = {piece_key(path, 1): path for path in counts}
    rows = await connection.fetch(_PIECES_BEFORE, tenant_id, namespace, list(paths))
    gone = [
        piece_key(path, number)
        for path, before in ((paths[row["key"]], float(row["pieces"])) for row in rows)
        for number in range(counts[path] + 1, int(min(before, _MOST_PIECES)) + 1)
    ]
    if gone:
        await connection.execute(_ERASE_KEYS, tenant_id, namespace, gone)


async def by_key(connection: asyncpg.Connection, tenant_id: str, key: str, namespace: str | None) -> MemoryItem:
    """The item with exactly this key; without a namespace, the newest of the tenant's.

    Raises:
        SomaError: ``memory_not_found``.
    """
    row = await connection.fetchrow(_BY_KEY, tenant_id, key, namespace)
    if row is None:
        where = "" if namespace is None else f" in the namespace {namespace!r}"
        raise SomaError(Code.MEMORY_NOT_FOUND, f"Nothing is remembered under this key{where}. Search with recall.")
    return item_view(row, 1.0)


async def by_ids(connection: asyncpg.Connection, tenant_id: str, ids: Sequence[UUID]) -> dict[UUID, asyncpg.Record]:
    """Whole rows by id."""
    return {row["id"]: row for row in await connection.fetch(_BY_IDS, tenant_id, list(ids))}


async def erase(connection: asyncpg.Connection, tenant_id: str, memory_id: UUID) -> None:
    """Delete an item for good, with its vector and its words.

    Raises:
        SomaError: ``memory_not_found``.
    """
    if await connection.fetchval(_ERASE, tenant_id, memory_id) is None:
        raise SomaError(Code.MEMORY_NOT_FOUND, "There is no memory with this id, or it has been erased already.")


def item_view(row: asyncpg.Record, score: float) -> MemoryItem:
    """A row as people see it."""
    return MemoryItem(
        memory_id=str(row["id"]),
        key=row["key"],
        text=row["text"],
        value=None if row["value"] is None else orjson.loads(row["value"]),
        score=round(score, 6),
        tags=row["tags"],
        metadata=orjson.loads(row["meta"]),
        provenance=MemoryProvenance(
            source=row["source"],
            namespace=row["namespace"],
            created_at=rfc3339(row["created_at"]),
            created_by=row["created_by"],
            job_id=None if row["job_id"] is None else str(row["job_id"]),
            step_id=row["step_id"],
        ),
    )


def _row(item: Item, vector: str) -> str:
    return encode(
        {
            "namespace": item.namespace,
            "key": item.key,
            "text": item.text,
            "value": item.value,
            "tags": list(item.tags),
            "meta": item.metadata,
            "embedding": vector,
        }
    )


def _json(rows: Sequence[str]) -> str:
    return f"[{','.join(rows)}]"

"""Finding items by meaning and by words (:mod:`somagent.services.memory.words`), and fusing both orders.

Up to 2,000 candidates are compared one by one, so that a small tenant or namespace is searched exactly. Beyond that
the HNSW index answers, scanning on until it has enough items that pass the filters (``hnsw.iterative_scan``).
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import asyncpg

from somagent.adapters.memory.embedder import Embedded
from somagent.domain.memory.fusion import fuse
from somagent.domain.memory.items import clean
from somagent.services.memory.scope import Scope
from somagent.services.memory.words import by_words

_EXACT_UP_TO: Final = 2_000
_POOL: Final = 50
"""Each ranking has at least so many items before they are fused."""

# Plans are made for the tenant and filters at hand: a plan for the average tenant would starve the small ones.
_PREPARE: Final = """
SELECT set_config('plan_cache_mode', 'force_custom_plan', true),
  set_config('hnsw.iterative_scan', 'strict_order', true), set_config('hnsw.ef_search', '200', true),
  set_config('hnsw.max_scan_tuples', '100000', true)
"""
_WHERE: Final = """
tenant_id = $1 AND ($2::text IS NULL OR namespace = $2) AND ($3::text[] IS NULL OR tags @> $3)
AND ($4::text IS NULL OR meta @> $4::jsonb) AND ($5::text IS NULL OR source = $5)
AND ($6::text IS NULL OR starts_with(key, $6))
"""
_COUNT: Final = f"SELECT count(*) FROM (SELECT 1 FROM memories WHERE {_WHERE} LIMIT $7) AS capped"  # noqa: S608
_NEAREST: Final = f"""
SELECT id FROM memories WHERE {_WHERE} AND embedding_model = $9 ORDER BY embedding <=> $7::text::vector LIMIT $8
"""  # noqa: S608 - constants only
# An order that the index does not know makes Postgres compare every candidate.
_NEAREST_EXACT: Final = f"""
SELECT id FROM memories WHERE {_WHERE} AND embedding_model = $9
ORDER BY (embedding <=> $7::text::vector) + 0.0, id LIMIT $8
"""  # noqa: S608 - constants only


async def search(
    connection: asyncpg.Connection, scope: Scope, query: str, embedded: Embedded, limit: int
) -> list[tuple[UUID, float]]:
    """Up to ``limit`` ids with their fused scores, best first. Runs in a transaction of the caller's.

    Args:
        embedded: the query's own vector; only items of the same embedding model are compared with it.
    """
    pool = max(_POOL, 2 * limit)
    await connection.execute(_PREPARE)
    candidates = await connection.fetchval(_COUNT, *scope.arguments(), _EXACT_UP_TO + 1)
    exact = candidates <= _EXACT_UP_TO
    nearest = await by_meaning(connection, scope, embedded, pool, exact=exact)
    matching = await by_words(connection, scope, clean(query), pool, exact=exact)
    return fuse([nearest, matching])[:limit]


async def by_meaning(
    connection: asyncpg.Connection, scope: Scope, embedded: Embedded, pool: int, *, exact: bool
) -> list[UUID]:
    """Up to ``pool`` items whose vectors are nearest to the query's, nearest first."""
    statement = _NEAREST_EXACT if exact else _NEAREST
    rows = await connection.fetch(statement, *scope.arguments(), embedded.vectors[0], pool, embedded.model)
    return [row["id"] for row in rows]

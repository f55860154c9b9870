"""Finding items by meaning and by words, and fusing both orders.

Up to 2,000 candidates are compared one by one, so that a small tenant or namespace is searched exactly. Beyond that
the HNSW index answers, scanning on until it has enough items that pass the filters (``hnsw.iterative_scan``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from somagent.adapters.memory.embedder import Embedded
from somagent.domain.memory.filters import RecallFilters
from somagent.domain.memory.fitness import coverage
from somagent.domain.memory.fusion import fuse
from somagent.domain.memory.items import clean

_EXACT_UP_TO: Final = 2_000
_POOL: Final = 50
"""Each ranking has at least so many items before they are fused."""
_WEIGHED: Final = 4
"""How many times as many items are weighed word by word as are kept."""

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
_AS_WRITTEN: Final = f"""
SELECT id FROM memories WHERE {_WHERE} AND search @@ websearch_to_tsquery('english', $7)
ORDER BY ts_rank_cd(search, websearch_to_tsquery('english', $7), 32) DESC, id LIMIT $8
"""  # noqa: S608 - constants only
_ANY_WORD: Final = f"""
SELECT id FROM memories WHERE {_WHERE} AND search @@ $7::text::tsquery
ORDER BY ts_rank(search, $7::text::tsquery) DESC, id LIMIT $8
"""  # noqa: S608 - constants only
_LEXEMES: Final = "SELECT tsvector_to_array(to_tsvector('english', $1))"
_MATCHED: Final = """
SELECT id, ARRAY(SELECT unnest($3::text[]) INTERSECT SELECT unnest(tsvector_to_array(search))) AS terms
FROM memories WHERE tenant_id = $1 AND id = ANY($2::uuid[])
"""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to search. Without a namespace: everything that the tenant remembers."""

    tenant_id: str
    namespace: str | None = None
    filters: RecallFilters = field(default_factory=RecallFilters)

    def arguments(self) -> tuple[object, ...]:
        """The first parameters of every search statement."""
        filters = self.filters
        return (
            self.tenant_id,
            self.namespace,
            [clean(tag) for tag in filters.tags] or None,
            clean(orjson.dumps(filters.metadata).decode()) if filters.metadata else None,
            filters.source,
            clean(filters.key_prefix) if filters.key_prefix else None,
        )


async def search(
    connection: asyncpg.Connection, scope: Scope, query: str, embedded: Embedded, limit: int
) -> list[tuple[UUID, float]]:
    """Up to ``limit`` ids with their fused scores, best first. Runs in a transaction of the caller's.

    Args:
        embedded: the query's own vector; only items of the same embedding model are compared with it.
    """
    words = clean(query)
    pool = max(_POOL, 2 * limit)
    await connection.execute(_PREPARE)
    nearest = await _by_meaning(connection, scope, embedded, pool)
    matching = await _by_words(connection, scope, words, pool)
    return fuse([nearest, matching])[:limit]


async def question_terms(connection: asyncpg.Connection, question: str) -> list[str]:
    """The question's distinct words as full text search sees them: stemmed, without function words."""
    return list(await connection.fetchval(_LEXEMES, clean(question)))


async def matched_terms(
    connection: asyncpg.Connection, tenant_id: str, ids: Sequence[UUID], terms: Sequence[str]
) -> dict[UUID, list[str]]:
    """Which of ``terms`` each item holds, in the order of ``ids``."""
    rows = await connection.fetch(_MATCHED, tenant_id, list(ids), list(terms))
    found = {row["id"]: row["terms"] for row in rows}
    return {memory_id: found[memory_id] for memory_id in ids if memory_id in found}


async def _by_meaning(connection: asyncpg.Connection, scope: Scope, embedded: Embedded, pool: int) -> list[UUID]:
    arguments = scope.arguments()
    candidates = await connection.fetchval(_COUNT, *arguments, _EXACT_UP_TO + 1)
    statement = _NEAREST_EXACT if candidates <= _EXACT_UP_TO else _NEAREST
    rows = await connection.fetch(statement, *arguments, embedded.vectors[0], pool, embedded.model)
    return [row["id"] for row in rows]


async def _by_words(connection: asyncpg.Connection, scope: Scope, query: str, pool: int) -> list[UUID]:
    """Items with any of the query's words, those first that hold the most of it, rare words weighing more.

    Where the query is written as for a web search (quoted phrases, OR, a leading minus), what fits it exactly goes
    before.
    """
    arguments = scope.arguments()
    exact = await connection.fetch(_AS_WRITTEN, *arguments, query, pool) if _has_operators(query) else []
    terms = await question_terms(connection, _without_negated(query))
    rows = await connection.fetch(_ANY_WORD, *arguments, _any_of(terms), _WEIGHED * pool) if terms else []
    share = coverage(terms, await matched_terms(connection, scope.tenant_id, [row["id"] for row in rows], terms))
    weighed = sorted(share, key=lambda memory_id: -round(share[memory_id], 9))
    return list(dict.fromkeys([*(row["id"] for row in exact), *weighed]))[:pool]


def _has_operators(query: str) -> bool:
    return '"' in query or any(word == "OR" or word.startswith("-") for word in query.split())


def _any_of(terms: Sequence[str]) -> str:
    quoted = (term.replace("\\", "\\\\").replace("'", "''") for term in terms)
    return " | ".join(f"'{term}'" for term in quoted)


def _without_negated(query: str) -> str:
    return " ".join(word for word in query.split() if not word.startswith("-"))

"""Finding items by their words.

Postgres' own rank knows nothing of how rare a word is, so it only chooses candidates; they are then ordered by the
share of the query's words that they hold, each weighted by its rarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

import asyncpg

from somagent.domain.memory.fitness import coverage
from somagent.services.memory.scope import Scope

_WEIGHED: Final = 4
"""How many times as many items are weighed word by word as are kept."""
_LOOKED_AT: Final = 4_000
"""Items that one statement ranks at most."""
_RARE: Final = 1_000
"""A word that more items hold chooses nothing: in a large scope its items are asked for only together with others."""

_MATCHES: Final = "SELECT id FROM memory_matches({}, $1, $2, $3::text::jsonb, $4, $5, $7, $8)"
_AS_WRITTEN: Final = _MATCHES.format("websearch_to_tsquery('english', $6)")
_BY_TERMS: Final = _MATCHES.format("$6::text::tsquery")
_TERM_COUNTS: Final = "SELECT memory_term_counts($1, $2, $3)"
_LEXEMES: Final = "SELECT tsvector_to_array(to_tsvector('english', $1))"
_HELD: Final = """
SELECT id, ARRAY(SELECT unnest($3::text[]) INTERSECT SELECT unnest(tsvector_to_array(search))) AS terms
FROM memories WHERE tenant_id = $1 AND id = ANY($2::uuid[])
"""


async def by_words(connection: asyncpg.Connection, scope: Scope, query: str, pool: int, *, exact: bool) -> list[UUID]:
    """Up to ``pool`` items with any of the query's words, those first that hold the most of it.

    Where the query is written as for a web search (quoted phrases, OR, a leading minus), what fits it exactly goes
    before.

    Args:
        exact: the scope is small enough to look at everything.
    """
    as_written = await _matches(connection, scope, _AS_WRITTEN, query, pool) if _has_operators(query) else []
    terms = await question_terms(connection, _without_negated(query))
    candidates = await _candidates(connection, scope, terms, _WEIGHED * pool, exact=exact) if terms else []
    share = coverage(terms, await matched_terms(connection, scope.tenant_id, candidates, terms))
    weighed = sorted(share, key=lambda memory_id: -round(share[memory_id], 9))
    return list(dict.fromkeys([*as_written, *weighed]))[:pool]


async def question_terms(connection: asyncpg.Connection, question: str) -> list[str]:
    """The question's distinct words as full text search sees them: stemmed, without function words."""
    return list(await connection.fetchval(_LEXEMES, question))


async def matched_terms(
    connection: asyncpg.Connection, tenant_id: str, ids: Sequence[UUID], terms: Sequence[str]
) -> dict[UUID, list[str]]:
    """Which of ``terms`` each item holds, in the order of ``ids``."""
    rows = await connection.fetch(_HELD, tenant_id, list(ids), list(terms))
    found = {row["id"]: row["terms"] for row in rows}
    return {memory_id: found[memory_id] for memory_id in ids if memory_id in found}


async def _candidates(
    connection: asyncpg.Connection, scope: Scope, terms: Sequence[str], wanted: int, *, exact: bool
) -> list[UUID]:
    """Items worth weighing. In a large scope rare words choose them, then all words together, then any of them."""
    quoted = [_quoted(term) for term in terms]
    if exact:
        return await _matches(connection, scope, _BY_TERMS, " | ".join(quoted), wanted)
    counts = await connection.fetchval(_TERM_COUNTS, quoted, scope.namespace, _RARE + 1)
    rare = [term for term, count in zip(quoted, counts, strict=True) if 0 < count <= _RARE]
    found: dict[UUID, None] = {}
    for terms_together in (" | ".join(rare), " & ".join(quoted), " | ".join(quoted)):
        if terms_together and len(found) < wanted:
            found.update(dict.fromkeys(await _matches(connection, scope, _BY_TERMS, terms_together, wanted)))
    return list(found)


async def _matches(connection: asyncpg.Connection, scope: Scope, statement: str, query: str, wanted: int) -> list[UUID]:
    # The functions hold the tenant that the connection is bound to.
    rows = await connection.fetch(statement, *scope.arguments()[1:], query, _LOOKED_AT, wanted)
    return [row["id"] for row in rows]


def _quoted(term: str) -> str:
    escaped = term.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def _has_operators(query: str) -> bool:
    return '"' in query or any(word == "OR" or word.startswith("-") for word in query.split())


def _without_negated(query: str) -> str:
    return " ".join(word for word in query.split() if not word.startswith("-"))

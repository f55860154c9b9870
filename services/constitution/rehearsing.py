"""Rehearsing a constitution on what the tenant has on record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Final

import asyncpg
import orjson
from pydantic import ValidationError

from somagent.domain.errors import SomaError
from somagent.domain.policy.constitution import Constitution, parse_constitution
from somagent.domain.policy.rehearsal import RecordedDecision, Rehearsal, rehearse

DEFAULT_LIMIT: Final = 1_000
LARGEST_LIMIT: Final = 10_000

_DECISIONS = """
SELECT id::text AS id, source, action, allowed, score, threshold, constitution_hash, policy::text AS policy,
  features::text AS features, created_at AS decided_at
FROM policy_decisions WHERE tenant_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2
"""
_STEPS = """
SELECT s.job_id || ':' || s.step_id AS id, s.action, s.verdict::text AS verdict, s.finished_at AS decided_at
FROM (SELECT id, created_at FROM jobs WHERE tenant_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2) j
JOIN job_steps s ON s.job_id = j.id
WHERE s.verdict IS NOT NULL AND s.finished_at IS NOT NULL ORDER BY s.finished_at DESC LIMIT $2
"""
_KNOWN = "SELECT content::text FROM constitutions WHERE tenant_id IN ($1, '')"
_HARD = "SELECT name FROM policy_rules WHERE tenant_id = $1 AND (rule->>'hard')::boolean"


async def rehearsed(
    connection: asyncpg.Connection, tenant_id: str, proposed: Constitution, limit: int = DEFAULT_LIMIT
) -> Rehearsal:
    """Judge the tenant's newest decisions again, by ``proposed``."""
    decisions = await connection.fetch(_DECISIONS, tenant_id, limit)
    steps = await connection.fetch(_STEPS, tenant_id, limit)
    known = await _known(connection, tenant_id)
    hard = frozenset(row["name"] for row in await connection.fetch(_HARD, tenant_id))
    # Thousands of verdicts take a while to read, in which others want to be served.
    return await asyncio.to_thread(_rehearse, decisions, steps, proposed, known, hard, limit)


def _rehearse(
    decisions: list[asyncpg.Record],
    steps: list[asyncpg.Record],
    proposed: Constitution,
    known: Mapping[str, Constitution],
    hard: frozenset[str],
    limit: int,
) -> Rehearsal:
    recorded = [*map(_of_decision, decisions), *_of_steps(steps)]
    recorded.sort(key=lambda decision: decision.decided_at, reverse=True)
    return rehearse(recorded[:limit], proposed, known, hard)


async def _known(connection: asyncpg.Connection, tenant_id: str) -> dict[str, Constitution]:
    known = {}
    for row in await connection.fetch(_KNOWN, tenant_id):
        try:
            constitution = parse_constitution(orjson.loads(row["content"]))
        except SomaError:  # one that was tampered with reproduces nothing
            continue
        known[constitution.content_hash] = constitution
    return known


def _of_decision(row: asyncpg.Record) -> RecordedDecision:
    return RecordedDecision.model_validate(
        {**row, "policy": orjson.loads(row["policy"]), "features": _values(orjson.loads(row["features"]))}
    )


def _of_steps(rows: list[asyncpg.Record]) -> Iterator[RecordedDecision]:
    for row in rows:
        verdict = orjson.loads(row["verdict"])
        known = ("allowed", "score", "threshold", "constitution_hash", "policy")
        try:
            yield RecordedDecision.model_validate(
                {
                    **{name: verdict[name] for name in known},
                    "id": row["id"],
                    "source": "step",
                    "action": row["action"],
                    "features": _values(verdict["features"]),
                    "decided_at": row["decided_at"],
                }
            )
        except (KeyError, TypeError, ValidationError):  # a verdict of another shape cannot be judged again
            continue


def _values(features: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{"name": feature["name"], "value": feature["value"]} for feature in features]

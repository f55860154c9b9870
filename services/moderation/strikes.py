"""Strikes and locks in Postgres: what counts, what follows, and what ends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from somagent.domain.moderation.screening import Screening

WINDOW: Final = "24 hours"
LOCKING_STRIKE: Final = 3
ESCALATING_STRIKE: Final = 2

_STANDING: Final = f"""
SELECT
  (SELECT count(*) FROM moderation_strikes WHERE tenant_id = $1 AND user_id = $2 AND cleared_at IS NULL
    AND created_at > clock_timestamp() - interval '{WINDOW}')::int AS strikes,
  (SELECT id FROM moderation_locks WHERE tenant_id = $1 AND user_id = $2 AND unlocked_at IS NULL) AS lock_id
"""  # noqa: S608 - the window is ours
_ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtextextended('moderation:' || $1 || chr(10) || $2, 0))"
_STRIKE: Final = """
INSERT INTO moderation_strikes (id, tenant_id, user_id, severity, categories, terms, consequence, source, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, clock_timestamp())
"""
_LOCK: Final = """
INSERT INTO moderation_locks (id, tenant_id, user_id, strike_id, locked_at) VALUES ($1, $2, $3, $4, clock_timestamp())
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a user stands: strikes that count, and whether a lock is on."""

    strikes: int
    locked: bool


@dataclass(frozen=True, slots=True)
class Strike:
    """A strike that was written, the count with it, and what followed: warned, escalated or locked."""

    strike_id: UUID
    count: int
    consequence: str


async def standing(connection: asyncpg.Connection, tenant_id: str, user_id: str) -> Standing:
    """How the user stands at this moment."""
    row = await connection.fetchrow(_STANDING, tenant_id, user_id)
    assert row is not None  # noqa: S101 - a select of two scalars has one row
    return Standing(row["strikes"], row["lock_id"] is not None)


async def one_at_a_time(connection: asyncpg.Connection, tenant_id: str, user_id: str) -> None:
    """Hold the user's strikes until the transaction ends, so that prompts at the same time count right."""
    await connection.execute(_ONE_AT_A_TIME, tenant_id, user_id)


async def add_strike(
    connection: asyncpg.Connection, tenant_id: str, user_id: str, screening: Screening, source: str, before: int
) -> Strike:
    """Write the strike and the lock that it may bring, in the caller's transaction.

    Args:
        before: strikes that count already, read under :func:`one_at_a_time`.
    """
    strike = Strike(uuid4(), before + 1, consequence_of(before + 1))
    await connection.execute(
        _STRIKE, strike.strike_id, tenant_id, user_id, screening.gravity.word, list(screening.categories),
        list(screening.terms), strike.consequence, source,
    )  # fmt: skip
    if strike.consequence == "locked":
        await connection.execute(_LOCK, uuid4(), tenant_id, user_id, strike.strike_id)
    return strike


def consequence_of(count: int) -> str:
    """The first warns, the second escalates, the third locks."""
    if count >= LOCKING_STRIKE:
        return "locked"
    return "escalated" if count >= ESCALATING_STRIKE else "warned"

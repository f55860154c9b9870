"""Token budgets: reserved for the worst case before a call, settled after it, never overrun.

Each reservation is one conditional update a level, in the transaction that records the request; either every level has
room or none is touched.
"""

from __future__ import annotations

from uuid import UUID

import asyncpg

_DAY = "(clock_timestamp() AT TIME ZONE 'UTC')::date"

_RESERVE_JOB = """
UPDATE jobs SET reserved_tokens = reserved_tokens + $2
WHERE id = $1 AND spent_tokens + reserved_tokens + $2 <= budget_tokens RETURNING 1
"""
_RESERVE_DAY = f"""
INSERT INTO daily_budgets AS b (tenant_id, day, reserved_tokens)
SELECT t.id, {_DAY}, $2 FROM tenants t WHERE t.id = $1 AND $2 <= t.daily_tokens
ON CONFLICT (tenant_id, day) DO UPDATE SET reserved_tokens = b.reserved_tokens + $2
  WHERE b.spent_tokens + b.reserved_tokens + $2 <= (SELECT daily_tokens FROM tenants WHERE id = $1)
RETURNING 1
"""  # noqa: S608 - the day is an expression of ours
_RELEASE = """
WITH held AS (
  SELECT request_id, tenant_id, job_id, reserved_tokens, (published_at AT TIME ZONE 'UTC')::date AS day
  FROM slm_requests WHERE request_id = $1 AND status IN ('queued', 'running') FOR UPDATE
), request AS (
  UPDATE slm_requests SET reserved_tokens = 0 WHERE request_id = (SELECT request_id FROM held)
), job AS (
  UPDATE jobs j SET reserved_tokens = greatest(0, j.reserved_tokens - held.reserved_tokens),
    spent_tokens = j.spent_tokens + $2, cost = j.cost + $3 FROM held WHERE j.id = held.job_id
)
UPDATE daily_budgets b SET reserved_tokens = greatest(0, b.reserved_tokens - held.reserved_tokens),
  spent_tokens = b.spent_tokens + $2
FROM held WHERE b.tenant_id = held.tenant_id AND b.day = held.day
"""


_REMAINING = f"""
SELECT t.daily_tokens - coalesce(b.spent_tokens + b.reserved_tokens, 0) FROM tenants t
LEFT JOIN daily_budgets b ON b.tenant_id = t.id AND b.day = {_DAY} WHERE t.id = $1
"""  # noqa: S608 - the day is an expression of ours


class _NoRoom(Exception):
    """One level had no room; the savepoint takes the others back."""


async def reserve(connection: asyncpg.Connection, tenant_id: str, job_id: str | None, tokens: int) -> bool:
    """Reserve ``tokens`` of the tenant's day and of the job; False when either has not so many left."""
    try:
        async with connection.transaction():
            if job_id is not None and await connection.fetchval(_RESERVE_JOB, UUID(job_id), tokens) is None:
                raise _NoRoom
            if await connection.fetchval(_RESERVE_DAY, tenant_id, tokens) is None:
                raise _NoRoom
    except _NoRoom:
        return False
    return True


async def remaining_today(connection: asyncpg.Connection, tenant_id: str) -> int:
    """Tokens that are left of the tenant's day; never below 0, also after its limit was lowered."""
    left: int | None = await connection.fetchval(_REMAINING, tenant_id)
    return max(0, left or 0)


async def release(connection: asyncpg.Connection, request_id: str, *, spent: int = 0, cost: float = 0.0) -> None:
    """Give back what a request reserved, and book what it spent."""
    await connection.execute(_RELEASE, request_id, spent, cost)

"""Wrong tries in a row: from the fifth on, each locks the account for twice as long as the one before.

Names are counted whether or not there is such a user, so that a lock tells nothing about who exists.
"""

from __future__ import annotations

import hashlib
from typing import Final

import asyncpg

from somagent.domain.errors import Code, SomaError

ALLOWED: Final = 5
FIRST_LOCK_SECONDS: Final = 30
LONGEST_LOCK_SECONDS: Final = 3_600
FORGOTTEN_AFTER: Final = "24 hours"

_LOOK: Final = """
SELECT extract(epoch FROM locked_until - now())::float8 AS seconds FROM login_failures
WHERE tenant_id = $1 AND person = $2 AND locked_until > now()
"""
_COUNT: Final = f"""
INSERT INTO login_failures AS known (tenant_id, person, failures, failed_at) VALUES ($1, $2, 1, now())
ON CONFLICT (tenant_id, person) DO UPDATE SET failed_at = now(),
  failures = CASE WHEN known.failed_at < now() - interval '{FORGOTTEN_AFTER}' THEN 1 ELSE known.failures + 1 END
RETURNING failures
"""  # noqa: S608 - a constant of this module
_LOCK: Final = """
UPDATE login_failures SET locked_until = now() + make_interval(secs => $3) WHERE tenant_id = $1 AND person = $2
"""
_CLEAR: Final = "DELETE FROM login_failures WHERE tenant_id = $1 AND person = $2"


async def require_unlocked(connection: asyncpg.Connection, tenant_id: str, user_id: str) -> None:
    """Insist that the account is not locked at this moment.

    Raises:
        SomaError: ``account_locked``, with the seconds until it is not.
    """
    seconds = await connection.fetchval(_LOOK, tenant_id, _person(user_id))
    if seconds is not None:
        raise SomaError(
            Code.ACCOUNT_LOCKED,
            "There were too many wrong tries under this name; no password is looked at until some time has passed. "
            "Each further wrong try doubles it.",
            retry_after=float(seconds),
        )


async def count_wrong(connection: asyncpg.Connection, tenant_id: str, user_id: str) -> None:
    """Count a wrong try, and lock where it was one too many. Tries that ran side by side count one after another.

    Raises:
        SomaError: ``account_locked``, when another try has locked the account meanwhile.
    """
    person = _person(user_id)
    async with connection.transaction():
        await _hold(connection, tenant_id, person)
        await require_unlocked(connection, tenant_id, user_id)
        failures = await connection.fetchval(_COUNT, tenant_id, person)
        if failures >= ALLOWED:
            await connection.execute(_LOCK, tenant_id, person, lock_seconds(failures))


async def clear(connection: asyncpg.Connection, tenant_id: str, user_id: str) -> None:
    """Forget the wrong tries after a right one, in the caller's transaction.

    Raises:
        SomaError: ``account_locked``, when a wrong try has locked the account meanwhile.
    """
    await _hold(connection, tenant_id, _person(user_id))
    await require_unlocked(connection, tenant_id, user_id)
    await connection.execute(_CLEAR, tenant_id, _person(user_id))


async def unlock(connection: asyncpg.Connection, tenant_id: str, user_id: str) -> None:
    """Forget the wrong tries and the lock: somebody who may has set a new password."""
    await connection.execute(_CLEAR, tenant_id, _person(user_id))


def lock_seconds(failures: int) -> float:
    """For how long so many wrong tries in a row lock an account."""
    return float(min(FIRST_LOCK_SECONDS * 2 ** min(failures - ALLOWED, 30), LONGEST_LOCK_SECONDS))


async def _hold(connection: asyncpg.Connection, tenant_id: str, person: str) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"login:{tenant_id}:{person}")


def _person(user_id: str) -> str:
    return hashlib.sha256(user_id.encode()).hexdigest()

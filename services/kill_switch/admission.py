"""Asking in Postgres whether work may begin, so exactly that no stop is overtaken.

The gate's memory refuses within milliseconds of a stop. What is admitted in that moment all the same meets
``soma_stopped`` in the statement that writes it: see the migration that makes the function.
"""

from __future__ import annotations

from uuid import UUID

import asyncpg

from somagent.domain.errors import Code, SomaError

_REASON = """
SELECT scope, target, reason FROM kill_switches WHERE lifted_at IS NULL AND (scope = 'global' OR tenant_id = $1 AND (
  scope = 'tenant' OR scope = 'capsule' AND target = $2 OR scope = 'run' AND target = ANY($3::text[])))
LIMIT 1
"""


async def require_admitted(
    connection: asyncpg.Connection, tenant_id: str, capsule_id: str | None, *runs: UUID | str | None
) -> None:
    """Insist that nothing stops this work, until the caller's transaction commits.

    Args:
        runs: the ids that a switch on a run can name: the job's, its session's, its parent's.

    Raises:
        SomaError: ``kill_switch_active``.
    """
    named = [str(run) for run in runs if run is not None]
    if not await connection.fetchval("SELECT soma_stopped($1, $2, $3::text[])", tenant_id, capsule_id, named):
        return
    row = await connection.fetchrow(_REASON, tenant_id, capsule_id, named)
    what = "everything" if row is None or row["scope"] == "global" else f"{row['scope']} {row['target']}"
    why = "it was lifted this moment" if row is None else row["reason"]
    raise SomaError(
        Code.KILL_SWITCH_ACTIVE,
        f"The kill switch stops {what}: {why}. Nothing new is taken until somebody who may lifts it.",
        retry_after=30,
    )


async def hold_off_stops(connection: asyncpg.Connection) -> None:
    """Let a switch that is being engaged wait for this transaction.

    Whoever locks rows of jobs before it asks :func:`require_admitted` calls this first.
    """
    await connection.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended('kill_switches', 0))")

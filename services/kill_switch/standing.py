"""What a switch has stopped and what still runs, as Postgres and Temporal have it at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from somagent.services.kill_switch.scope import Scope

LISTED: Final = 50
"""How many that still run are listed; all are counted."""
LOOKED_AT: Final = 200
"""Of how many that have ended Temporal is asked whether their workflow has closed."""
_AT_ONCE: Final = 16
_RPC: Final = timedelta(seconds=1)

_SWITCH: Final = """
SELECT id, reason, engaged_by, engaged_at FROM kill_switches
WHERE scope = $1 AND tenant_id = $2 AND target = $3 AND lifted_at IS NULL
"""

# $1 scope, $2 tenant, $3 target, $4 how many rows
_RUNNING: Final = """
WITH RECURSIVE line AS (
  SELECT id AS job_id, id, tenant_id, parent_job_id, capsule_id, session_id FROM jobs
  WHERE status IN ('queued', 'running', 'waiting', 'paused')
  UNION ALL
  SELECT line.job_id, p.id, p.tenant_id, p.parent_job_id, p.capsule_id, p.session_id
  FROM line JOIN jobs p ON p.id = line.parent_job_id
), matched AS (
  SELECT DISTINCT job_id FROM line WHERE $1 = 'global' OR tenant_id = $2 AND (
    $1 = 'tenant' OR $1 = 'capsule' AND capsule_id = $3
    OR $1 = 'run' AND $3 IN (id::text, session_id::text))
), running AS (
  SELECT j.id, 'job' AS kind, j.tenant_id, j.status, j.workflow_id, coalesce(j.started_at, j.created_at) AS since
  FROM jobs j JOIN matched m ON m.job_id = j.id
  UNION ALL
  SELECT s.id, 'session', s.tenant_id, s.status, s.workflow_id, s.created_at FROM sessions s
  WHERE s.status = 'active' AND ($1 = 'global' OR s.tenant_id = $2 AND (
    $1 = 'tenant' OR $1 = 'capsule' AND s.capsule_id = $3 OR $1 = 'run' AND s.id::text = $3))
)
SELECT id::text AS id, kind, tenant_id, status, workflow_id, since, count(*) OVER () AS total
FROM running ORDER BY since, id LIMIT $4
"""

# $1 the switch, $2 scope, $3 tenant, $4 target, $5 when it was engaged, $6 how many rows
_STOPPED: Final = """
WITH stopped AS (
  SELECT j.id, 'job' AS kind, j.tenant_id, j.status, j.workflow_id, coalesce(j.started_at, j.created_at) AS since,
    j.finished_at AS ended_at FROM jobs j
  WHERE j.kill_switch_id = $1 AND j.status NOT IN ('queued', 'running', 'waiting', 'paused')
  UNION ALL
  SELECT s.id, 'session', s.tenant_id, s.status, s.workflow_id, s.created_at, s.ended_at FROM sessions s
  WHERE s.status = 'killed' AND s.ended_at >= $5 AND ($2 = 'global' OR s.tenant_id = $3 AND (
    $2 = 'tenant' OR $2 = 'capsule' AND s.capsule_id = $4 OR $2 = 'run' AND s.id::text = $4))
)
SELECT id::text AS id, kind, tenant_id, status, workflow_id, since, count(*) OVER () AS total
FROM stopped ORDER BY ended_at DESC, id LIMIT $6
"""


@dataclass(frozen=True, slots=True)
class StillRunning:
    """A job or session that has not stopped.

    Attributes:
        status: as Postgres has it; ``killed`` where only its workflow has not closed yet.
        since: when it began.
    """

    id: str
    kind: str
    tenant_id: str
    status: str
    workflow_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """How a switch stands.

    Attributes:
        stopped: jobs and sessions that it has ended.
        still_running: those that it should have stopped and that have not ended, all counted.
        running: the oldest of them.
        workflows_checked: whether Temporal was asked about those that Postgres has as ended.
    """

    scope: Scope
    reason: str | None = None
    engaged_by: str | None = None
    engaged_at: datetime | None = None
    stopped: int = 0
    still_running: int = 0
    running: tuple[StillRunning, ...] = ()
    workflows_checked: bool = False

    @property
    def engaged(self) -> bool:
        """Whether it is engaged."""
        return self.engaged_at is not None


async def standing(connection: asyncpg.Connection, scope: Scope, temporal: Client | None) -> Standing:
    """Count and list; without ``temporal`` from Postgres alone."""
    switch = await connection.fetchrow(_SWITCH, scope.name, scope.tenant_id, scope.target)
    if switch is None:
        return Standing(scope)
    unfinished = await connection.fetch(_RUNNING, scope.name, scope.tenant_id, scope.target, LISTED)
    ended = await connection.fetch(
        _STOPPED, switch["id"], scope.name, scope.tenant_id, scope.target, switch["engaged_at"], LOOKED_AT
    )
    still_open = await _still_open(temporal, ended) if temporal is not None else None
    listed = [_running(row) for row in (*unfinished, *(still_open or ()))]
    return Standing(
        scope,
        reason=switch["reason"],
        engaged_by=switch["engaged_by"],
        engaged_at=switch["engaged_at"],
        stopped=_total(ended) - len(still_open or ()),
        still_running=_total(unfinished) + len(still_open or ()),
        running=tuple(listed[:LISTED]),
        workflows_checked=still_open is not None,
    )


def _total(rows: Sequence[asyncpg.Record]) -> int:
    return int(rows[0]["total"]) if rows else 0


def _running(row: asyncpg.Record) -> StillRunning:
    return StillRunning(row["id"], row["kind"], row["tenant_id"], row["status"], row["workflow_id"], row["since"])


async def _still_open(temporal: Client, ended: Sequence[asyncpg.Record]) -> list[asyncpg.Record] | None:
    """Those whose workflow has not closed; None when Temporal does not say."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def is_open(row: asyncpg.Record) -> bool:
        async with gate:
            try:
                described = await temporal.get_workflow_handle(row["workflow_id"]).describe(rpc_timeout=_RPC)
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return False
                raise
            return described.status is WorkflowExecutionStatus.RUNNING

    try:
        found = await asyncio.gather(*(is_open(row) for row in ended))
    except (RPCError, RuntimeError):
        return None
    return [row for row, still in zip(ended, found, strict=True) if still]

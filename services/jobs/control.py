"""What people do to a job: cancel, pause, resume, retry, another budget.

Each act changes the row and orders the workflow to be told, in one transaction; the workflow reads the row.
"""

from __future__ import annotations

from uuid import UUID

import asyncpg

from somagent.adapters.postgres.database import TenantConnection
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.orders import SignalOrder
from somagent.services.jobs.ordering import order_again
from somagent.services.kill_switch.admission import require_admitted
from somagent.services.starter import Recorded, record

ENDED_SHORT = ("failed", "cancelled", "killed")
"""Statuses of a job that ended without completing: it can be retried."""

_ACTIVE = "status IN ('queued', 'running', 'waiting', 'paused')"

# A job that no worker has taken up yet is cancelled on the spot: its workflow finds it ended.
_CANCEL = f"""
WITH job AS (
  UPDATE jobs SET cancel_requested = true, event_seq = event_seq + 1,
    status = CASE WHEN status = 'queued' OR started_at IS NULL THEN 'cancelled' ELSE status END,
    finished_at = CASE WHEN status = 'queued' OR started_at IS NULL THEN clock_timestamp() END,
    pause_requested = pause_requested AND NOT (status = 'queued' OR started_at IS NULL),
    error = CASE WHEN status = 'queued' OR started_at IS NULL
      THEN jsonb_build_object('code', 'cancelled', 'detail', 'The job was cancelled.') ELSE error END
  WHERE id = $1 AND {_ACTIVE} RETURNING id, tenant_id, workflow_id, event_seq, status
), steps AS (
  UPDATE job_steps SET status = 'cancelled', finished_at = clock_timestamp()
  WHERE job_id = (SELECT id FROM job WHERE status = 'cancelled') AND status NOT IN ('completed', 'skipped')
), event AS (
  INSERT INTO job_events (job_id, seq, tenant_id, type, data)
  SELECT id, event_seq, tenant_id, CASE status WHEN 'cancelled' THEN 'job.cancelled' ELSE 'job.cancel_requested' END,
    '{{}}' FROM job
) SELECT tenant_id, workflow_id FROM job
"""  # noqa: S608 - a constant of ours
_PAUSE = f"""
WITH job AS (
  UPDATE jobs SET pause_requested = true, status = 'paused', event_seq = event_seq + 1
  WHERE id = $1 AND {_ACTIVE} AND NOT pause_requested RETURNING id, tenant_id, workflow_id, event_seq
), event AS (
  INSERT INTO job_events (job_id, seq, tenant_id, type, data) SELECT id, event_seq, tenant_id, 'job.paused', '{{}}'
  FROM job
) SELECT tenant_id, workflow_id FROM job
"""  # noqa: S608 - a constant of ours
_RESUME = """
WITH job AS (
  UPDATE jobs j SET pause_requested = false, event_seq = event_seq + 1,
    status = CASE WHEN started_at IS NULL THEN 'queued'
      WHEN EXISTS (SELECT 1 FROM job_steps s WHERE s.job_id = j.id AND s.status = 'waiting') THEN 'waiting'
      ELSE 'running' END
  WHERE id = $1 AND pause_requested AND status = 'paused' RETURNING id, tenant_id, workflow_id, event_seq
), event AS (
  INSERT INTO job_events (job_id, seq, tenant_id, type, data) SELECT id, event_seq, tenant_id, 'job.resumed', '{}'
  FROM job
) SELECT tenant_id, workflow_id FROM job
"""
_BUDGET = f"""
WITH job AS (
  UPDATE jobs SET budget_tokens = $2, event_seq = event_seq + 1
  WHERE id = $1 AND {_ACTIVE} AND $2 >= spent_tokens + reserved_tokens
  RETURNING id, tenant_id, workflow_id, event_seq
), event AS (
  INSERT INTO job_events (job_id, seq, tenant_id, type, data)
  SELECT id, event_seq, tenant_id, 'job.budget_changed', jsonb_build_object('budget_tokens', $2::bigint) FROM job
) SELECT tenant_id, workflow_id FROM job
"""  # noqa: S608 - a constant of ours
_REOPEN = """
WITH job AS (
  UPDATE jobs SET status = 'queued', epoch = epoch + 1, error = NULL, finished_at = NULL, cancel_requested = false,
    pause_requested = false, kill_switch_id = NULL, event_seq = event_seq + 1,
    deadline = clock_timestamp() + make_interval(secs => (
      SELECT (i.definition->'policies'->>'max_duration_seconds')::float8 FROM installations i
      WHERE i.id = installation_id))
  WHERE id = $1 AND status IN ('failed', 'cancelled', 'killed') RETURNING id, tenant_id, event_seq, epoch
), event AS (
  INSERT INTO job_events (job_id, seq, tenant_id, type, data) SELECT id, event_seq, tenant_id, 'job.retried', '{}'
  FROM job
), undone AS (
  DELETE FROM job_steps WHERE job_id = (SELECT id FROM job) AND compensated_at IS NOT NULL RETURNING step_id
), failed AS (
  UPDATE job_steps SET status = 'pending', attempt_base = attempt, finished_at = NULL
  WHERE job_id = (SELECT id FROM job) AND status NOT IN ('completed', 'skipped')
)
SELECT 1
"""


async def cancel(connection: TenantConnection, job_id: UUID) -> Recorded:
    """Stop a job; its compensations run.

    Raises:
        SomaError: ``not_found`` or ``job_not_active``.
    """
    row = await connection.fetchrow(_CANCEL, job_id)
    if row is None:
        raise await _why_not(connection, job_id, "cancelled")
    order = SignalOrder(kind="workflow.cancel", tenant_id=row["tenant_id"], workflow_id=row["workflow_id"])
    return await record(connection, order)


async def pause(connection: TenantConnection, job_id: UUID) -> None:
    """Let the running step finish and begin no other. Pausing a paused job changes nothing.

    Raises:
        SomaError: ``not_found`` or ``job_not_active``.
    """
    if await connection.fetchrow(_PAUSE, job_id) is None:
        status = await _status(connection, job_id)
        if status != "paused":
            raise await _why_not(connection, job_id, "paused")


async def resume(connection: TenantConnection, job_id: UUID) -> Recorded:
    """Go on with a paused job.

    Raises:
        SomaError: ``not_found``, ``job_not_paused`` or ``kill_switch_active``.
    """
    await _require_admitted(connection, job_id)
    row = await connection.fetchrow(_RESUME, job_id)
    if row is None:
        status = await _status(connection, job_id)
        raise SomaError(Code.JOB_NOT_PAUSED, f"The job is {status}; only a paused job can be resumed.")
    return await _wake(connection, row)


async def set_budget(connection: TenantConnection, job_id: UUID, budget_tokens: int) -> Recorded:
    """Give a job another budget; one that waited for it goes on.

    Raises:
        SomaError: ``not_found``, ``job_not_active`` or ``budget_too_low``.
    """
    row = await connection.fetchrow(_BUDGET, job_id, budget_tokens)
    if row is None:
        used = await connection.fetchval(
            f"SELECT spent_tokens + reserved_tokens FROM jobs WHERE id = $1 AND {_ACTIVE}",  # noqa: S608
            job_id,
        )
        if used is None:
            raise await _why_not(connection, job_id, "given another budget")
        raise SomaError(
            Code.BUDGET_TOO_LOW, f"The job has spent or reserved {used:,} tokens; its budget cannot be below that."
        )
    return await _wake(connection, row)


async def retry(connection: TenantConnection, job_id: UUID) -> Recorded:
    """Go on with a failed, cancelled or killed job at the steps that are not done.

    Raises:
        SomaError: ``not_found``, ``job_not_retryable``, ``capsule_recalled`` or ``kill_switch_active``.
    """
    await _require_admitted(connection, job_id)
    job = await connection.fetchrow(
        "SELECT j.status, j.parent_job_id, i.status AS installation_status FROM jobs j "
        "LEFT JOIN installations i ON i.id = j.installation_id WHERE j.id = $1 FOR UPDATE OF j",
        job_id,
    )
    if job is None:
        raise _not_found()
    if job["status"] not in ENDED_SHORT or job["parent_job_id"] is not None:
        hint = "retry its parent job" if job["parent_job_id"] else "only one that did not complete can be retried"
        raise SomaError(Code.JOB_NOT_RETRYABLE, f"The job is {job['status']}; {hint}.")
    if job["installation_status"] == "quarantined":
        raise SomaError(Code.CAPSULE_RECALLED, "The job's capsule was recalled; it does not run any more.")
    return await record(connection, await order_again(connection, await reopen(connection, job_id)))


async def reopen(connection: asyncpg.Connection, job_id: UUID) -> asyncpg.Record:
    """Make a failed, cancelled or killed job ready for another run, in its next epoch; its row."""
    await connection.execute(_REOPEN, job_id)
    row = await connection.fetchrow(
        "UPDATE jobs SET steps_done = (SELECT count(*) FROM job_steps WHERE job_id = $1 "
        "AND status IN ('completed', 'skipped')) WHERE id = $1 RETURNING *",
        job_id,
    )
    assert row is not None  # noqa: S101 - the caller has locked it
    return row


async def _wake(connection: asyncpg.Connection, row: asyncpg.Record) -> Recorded:
    order = SignalOrder(tenant_id=row["tenant_id"], workflow_id=row["workflow_id"], signal="wake")
    return await record(connection, order)


async def _require_admitted(connection: asyncpg.Connection, job_id: UUID) -> None:
    """Insist that no kill switch stops what is about to go on."""
    job = await connection.fetchrow("SELECT tenant_id, capsule_id, session_id FROM jobs WHERE id = $1", job_id)
    if job is None:
        raise _not_found()
    await require_admitted(connection, job["tenant_id"], job["capsule_id"], job_id, job["session_id"])


async def _status(connection: asyncpg.Connection, job_id: UUID) -> str:
    status = await connection.fetchval("SELECT status FROM jobs WHERE id = $1", job_id)
    if status is None:
        raise _not_found()
    return str(status)


async def _why_not(connection: asyncpg.Connection, job_id: UUID, done: str) -> SomaError:
    status = await _status(connection, job_id)
    return SomaError(Code.JOB_NOT_ACTIVE, f"The job is {status} and cannot be {done} any more.")


def _not_found() -> SomaError:
    return SomaError(Code.NOT_FOUND, "There is no such job.")

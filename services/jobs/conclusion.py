"""Ending a job: its outputs, or its error and the compensation of what it did."""

from __future__ import annotations

from uuid import UUID

import asyncpg
from pydantic import JsonValue

from somagent.adapters.postgres.database import TenantConnection
from somagent.domain.actions import ACTIONS
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.jobs import Conclusion, Failure, JobStatus
from somagent.domain.messages.orders import SignalOrder
from somagent.services.budgets import release
from somagent.services.installed import frozen_capsule
from somagent.services.jobs.outcome import job_outputs
from somagent.services.jobs.store import JobState, begin, encode, mark
from somagent.services.starter import record

_CONCLUDE = """
WITH job AS (
  UPDATE jobs SET status = $3, outputs = coalesce($4::text::jsonb, outputs), error = $5::text::jsonb,
    finished_at = clock_timestamp(), current = NULL, reserved_tokens = 0, pause_requested = false,
    event_seq = event_seq + 1
  WHERE id = $1 AND epoch = $2 AND status IN ('queued', 'running', 'waiting', 'paused')
  RETURNING id, tenant_id, event_seq, steps_done, steps_total, capsule_id, task, spent_tokens
), steps AS (
  UPDATE job_steps SET status = 'cancelled', finished_at = clock_timestamp()
  WHERE job_id = (SELECT id FROM job) AND status IN ('running', 'pending', 'waiting')
), approvals AS (
  UPDATE approvals SET status = 'withdrawn', decided_at = clock_timestamp()
  WHERE job_id = (SELECT id FROM job) AND status = 'pending'
), event AS (
  INSERT INTO job_events (job_id, seq, tenant_id, type, data)
  SELECT id, event_seq, tenant_id, 'job.' || $3, jsonb_strip_nulls(jsonb_build_object('completed', steps_done,
    'total', steps_total, 'error', $5::text::jsonb)) FROM job
), told AS (
  INSERT INTO outbox (tenant_id, kind, key, payload)
  SELECT tenant_id, 'event', id::text, jsonb_build_object('topic', 'project.events', 'type', 'job.' || $3,
    'job_id', id, 'capsule_id', capsule_id, 'task', task, 'tokens', spent_tokens) FROM job
)
SELECT 1 FROM job
"""

_OPEN_REQUESTS = "SELECT request_id FROM slm_requests WHERE job_id = $1 AND status IN ('queued', 'running') FOR UPDATE"
_CLOSE_REQUESTS = """
UPDATE slm_requests SET status = 'cancelled', finished_at = clock_timestamp() WHERE request_id = ANY($1::text[])
"""
_UNDO_MEMORIES = "DELETE FROM memories WHERE job_id = $1 AND step_id = $2 AND created_at >= $3"


async def conclude(connection: TenantConnection, conclusion: Conclusion) -> Failure | None:
    """End the job as ``conclusion`` says, once. The failure it ended with, which a missing output can be."""
    async with connection.transaction():
        job = await begin(
            connection, conclusion.job_id, conclusion.tenant_id, conclusion.epoch, run_id=None, current=None
        )
        if job is None:
            return conclusion.failure
        status, failure, outputs = conclusion.status, conclusion.failure, None
        if status is JobStatus.COMPLETED:
            try:
                outputs = encode(await _outputs(connection, job))
            except SomaError as error:
                status, failure = JobStatus.FAILED, Failure(code=error.code, detail=error.detail)
        if status is not JobStatus.COMPLETED and job.kill_switch_id is not None:
            status, failure = JobStatus.KILLED, await _stopped(connection, job.kill_switch_id)
        if failure is not None and failure.step_id is not None:
            await _show_failed_step(connection, job, failure, failure.step_id)
        if status is not JobStatus.COMPLETED:
            await _compensate(connection, job)
            await _cancel_children(connection, job)
            await _withdraw_requests(connection, job)
        problem = encode(failure.model_dump(exclude_none=True)) if failure else None
        await connection.fetchval(_CONCLUDE, UUID(job.job_id), job.epoch, status.value, outputs, problem)
        return failure


async def _stopped(connection: asyncpg.Connection, kill_switch_id: UUID) -> Failure:
    reason = await connection.fetchval("SELECT reason FROM kill_switches WHERE id = $1", kill_switch_id)
    return Failure(code=Code.KILL_SWITCH_ACTIVE, detail=f"The kill switch stopped the job: {reason}")


async def _outputs(connection: asyncpg.Connection, job: JobState) -> dict[str, JsonValue]:
    frozen = await frozen_capsule(connection, job.installation_id) if job.installation_id else None
    return job_outputs(frozen.definition, job) if frozen else {}


async def _show_failed_step(connection: asyncpg.Connection, job: JobState, failure: Failure, step_id: str) -> None:
    """A step that failed outside any worker (people rejected it, its worker never came back) shows it too."""
    row = await connection.fetchrow(
        "SELECT action, attempt FROM job_steps WHERE job_id = $1 AND step_id = $2 "
        "AND status IN ('running', 'pending', 'waiting')",
        UUID(job.job_id),
        step_id,
    )
    if row is not None:
        await mark(
            connection, job.job_id, job.epoch, step_id, row["action"], "failed", max(1, row["attempt"]), failure=failure
        )


async def _compensate(connection: asyncpg.Connection, job: JobState) -> None:
    """Undo, last first, what can be undone. A compensated step runs again when the job is retried."""
    rows = await connection.fetch(
        "SELECT step_id, action, started_at FROM job_steps WHERE job_id = $1 AND status = 'completed' "
        "AND compensated_at IS NULL ORDER BY finished_at DESC",
        UUID(job.job_id),
    )
    for row in rows:
        if not ACTIONS[row["action"]].compensated:
            continue
        await connection.execute(_UNDO_MEMORIES, UUID(job.job_id), row["step_id"], row["started_at"])
        await connection.execute(
            "UPDATE job_steps SET compensated_at = clock_timestamp() WHERE job_id = $1 AND step_id = $2",
            UUID(job.job_id),
            row["step_id"],
        )


async def _withdraw_requests(connection: asyncpg.Connection, job: JobState) -> None:
    """Give back what unanswered model requests hold; an answer that still comes finds nobody waiting."""
    open_requests = [row["request_id"] for row in await connection.fetch(_OPEN_REQUESTS, UUID(job.job_id))]
    for request_id in open_requests:
        await release(connection, request_id)
    await connection.execute(_CLOSE_REQUESTS, open_requests)


async def _cancel_children(connection: asyncpg.Connection, job: JobState) -> None:
    children = await connection.fetch(
        "UPDATE jobs SET cancel_requested = true, kill_switch_id = coalesce(kill_switch_id, $2) "
        "WHERE parent_job_id = $1 AND status IN ('queued', 'running', 'waiting', 'paused') RETURNING workflow_id",
        UUID(job.job_id),
        job.kill_switch_id,
    )
    for child in children:
        order = SignalOrder(kind="workflow.cancel", tenant_id=job.tenant_id, workflow_id=child["workflow_id"])
        await record(connection, order)

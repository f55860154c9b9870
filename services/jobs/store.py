"""The statements a job pays for: each is one round trip, one transaction, and checks the fence.

A statement that finds the job in another epoch, or ended, changes nothing and returns nothing: whoever asked has been
overtaken. A step's row is written once; a second writer is told that it came too late.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import asyncpg
import orjson
from pydantic import JsonValue

from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.jobs import Failure

MAX_OUTPUT_BYTES = 10 * 1024 * 1024

_BEGIN = """
WITH job AS (
  UPDATE jobs SET
    status = CASE WHEN pause_requested THEN 'paused' ELSE 'running' END,
    started_at = coalesce(started_at, statement_timestamp()),
    run_id = coalesce($3, run_id),
    current = $4,
    error = NULL,
    event_seq = event_seq + (started_at IS NULL)::int
  WHERE id = $1 AND epoch = $2 AND status IN ('queued', 'running', 'waiting', 'paused')
  RETURNING *
), event AS (
  INSERT INTO job_events (job_id, seq, tenant_id, type, data)
  SELECT id, event_seq, tenant_id, 'job.started', jsonb_build_object('run_id', run_id) FROM job
  WHERE started_at = statement_timestamp()
  ON CONFLICT DO NOTHING
)
SELECT installation_id, capsule_id, environment, inputs::text AS inputs, attachments::text AS attachments,
  submitted_by, priority, depth, session_id, budget_tokens, reserved_tokens, spent_tokens, pause_requested,
  cancel_requested, deadline, created_at, kill_switch_id,
  (SELECT coalesce(json_agg(json_build_array(step_id, status, attempt, attempt_base, output)), '[]')::text
     FROM job_steps WHERE job_id = $1) AS steps
FROM job
"""

# Both statements below lock the job first, and write the step only over a row that is not settled. A condition on
# job_steps would be answered from before the lock, and two attempts at once would both find the step undone.
FENCE = """
WITH fence AS MATERIALIZED (
  SELECT id, tenant_id FROM jobs
  WHERE id = $1 AND epoch = $2 AND status IN ('queued', 'running', 'waiting', 'paused') FOR UPDATE
)"""

_SETTLE = f"""{FENCE}, step AS (
  INSERT INTO job_steps AS s (job_id, step_id, tenant_id, action, status, attempt, output, verdict, started_at,
                              finished_at)
  SELECT id, $3, tenant_id, $4, $5, $6, $7::text::jsonb, $8::text::jsonb, $9, clock_timestamp() FROM fence
  ON CONFLICT (job_id, step_id) DO UPDATE SET status = excluded.status, attempt = excluded.attempt,
    output = excluded.output, verdict = excluded.verdict, error = NULL, compensated_at = NULL,
    started_at = coalesce(excluded.started_at, s.started_at), finished_at = excluded.finished_at
  WHERE s.status NOT IN ('completed', 'skipped')
  RETURNING job_id
), job AS (
  UPDATE jobs SET
    steps_done = steps_done + 1,
    event_seq = event_seq + CASE WHEN $11 THEN 2 ELSE 1 END,
    current = CASE WHEN $11 THEN NULL ELSE $10 END,
    status = CASE WHEN $11 THEN 'completed' WHEN pause_requested THEN 'paused'
      WHEN $10 IS NULL AND EXISTS (SELECT 1 FROM job_steps s WHERE s.job_id = $1 AND s.step_id <> $3
        HAVING bool_or(s.status = 'waiting') AND NOT bool_or(s.status IN ('running', 'pending'))) THEN 'waiting'
      ELSE 'running' END,
    outputs = CASE WHEN $11 THEN $12::text::jsonb ELSE outputs END,
    finished_at = CASE WHEN $11 THEN clock_timestamp() END
  WHERE id = $1 AND EXISTS (SELECT 1 FROM step)
  RETURNING id, tenant_id, event_seq, steps_done, steps_total, pause_requested, cancel_requested, capsule_id, task,
    spent_tokens, parent_job_id
), event AS (
  INSERT INTO job_events (job_id, seq, tenant_id, type, data)
  SELECT id, event_seq - CASE WHEN $11 THEN 1 ELSE 0 END, tenant_id, 'step.' || $5, jsonb_build_object('step_id', $3,
    'action', $4::text, 'completed', steps_done, 'total', steps_total) FROM job
  UNION ALL
  SELECT id, event_seq, tenant_id, 'job.completed', jsonb_build_object('completed', steps_done, 'total', steps_total)
  FROM job WHERE $11
), told AS (
  INSERT INTO outbox (tenant_id, kind, key, payload)
  SELECT tenant_id, 'event', id::text, jsonb_build_object('topic', 'project.events', 'type', 'job.completed',
    'job_id', id, 'capsule_id', capsule_id, 'task', task, 'tokens', spent_tokens) FROM job WHERE $11
)
SELECT pause_requested, cancel_requested FROM job
"""  # noqa: S608 - a constant of ours

_MARK = f"""{FENCE}, step AS (
  INSERT INTO job_steps AS s (job_id, step_id, tenant_id, action, status, attempt, error, started_at)
  SELECT id, $3, tenant_id, $4, $5, $6, $7::text::jsonb, clock_timestamp() FROM fence
  ON CONFLICT (job_id, step_id) DO UPDATE SET status = excluded.status, attempt = excluded.attempt,
    error = excluded.error, started_at = CASE WHEN s.status = 'pending' THEN excluded.started_at ELSE s.started_at END,
    finished_at = CASE WHEN excluded.status = 'failed' THEN clock_timestamp() END
  WHERE s.status NOT IN ('completed', 'skipped')
  RETURNING job_id
), job AS (
  UPDATE jobs SET event_seq = event_seq + 1, current = $3,
    status = CASE WHEN pause_requested THEN 'paused' WHEN $5 = 'waiting' THEN 'waiting' ELSE 'running' END,
    error = $8::text::jsonb
  WHERE id = $1 AND EXISTS (SELECT 1 FROM step)
  RETURNING id, tenant_id, event_seq, pause_requested, cancel_requested
), event AS (
  INSERT INTO job_events (job_id, seq, tenant_id, type, data)
  SELECT id, event_seq, tenant_id, 'step.' || $5, jsonb_strip_nulls(jsonb_build_object('step_id', $3,
    'action', $4::text, 'attempt', $6::int, 'error', $7::text::jsonb)) FROM job
)
SELECT pause_requested, cancel_requested FROM job
"""  # noqa: S608 - a constant of ours


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step that has begun. ``attempt_base``: attempts that were used up before the job was last retried."""

    status: str
    attempt: int
    output: JsonValue
    attempt_base: int = 0

    @property
    def next_attempt(self) -> int:
        """The number of the attempt that is due; one that a crash of ours cut off is not counted."""
        return max(1, self.attempt) if self.status == "running" else self.attempt + 1


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as its worker sees it when it takes up a piece of work."""

    job_id: str
    tenant_id: str
    epoch: int
    installation_id: UUID | None
    capsule_id: str | None
    environment: str
    inputs: Mapping[str, JsonValue]
    attachments: tuple[str, ...]
    submitted_by: str
    priority: int
    depth: int
    session_id: UUID | None
    budget_tokens: int
    committed_tokens: int
    pause_requested: bool
    cancel_requested: bool
    deadline: datetime | None
    created_at: datetime
    steps: dict[str, StepRow] = field(default_factory=dict)
    kill_switch_id: UUID | None = None

    @property
    def settled(self) -> frozenset[str]:
        """The ids of steps that need nothing more."""
        return frozenset(name for name, row in self.steps.items() if row.status in ("completed", "skipped"))

    @property
    def outputs(self) -> dict[str, JsonValue]:
        """Outputs by step; a skipped step's is null."""
        return {name: row.output for name, row in self.steps.items() if row.status in ("completed", "skipped")}

    @property
    def skipped(self) -> frozenset[str]:
        """The ids of steps whose condition did not hold."""
        return frozenset(name for name, row in self.steps.items() if row.status == "skipped")

    def attempt(self, step_id: str) -> int:
        """Which attempt of the step is due, counted from 1."""
        row = self.steps.get(step_id)
        return 1 if row is None else row.next_attempt

    def attempt_base(self, step_id: str) -> int:
        """How many attempts do not count against the capsule's own limit."""
        row = self.steps.get(step_id)
        return 0 if row is None else row.attempt_base


@dataclass(frozen=True, slots=True)
class Flags:
    """What people have asked for meanwhile."""

    pause: bool
    cancel: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """A step's result on its way into Postgres. ``outputs``: the job's own, when this is its last step."""

    step_id: str
    action: str
    status: str
    attempt: int
    output: JsonValue
    verdict: JsonValue = None
    started_at: datetime | None = None
    next_step: str | None = None
    outputs: Mapping[str, JsonValue] | None = None


async def begin(
    connection: asyncpg.Connection, job_id: str, tenant_id: str, epoch: int, run_id: str | None, current: str | None
) -> JobState | None:
    """Take up work on a job: it is running now. None when it has ended or belongs to a later epoch."""
    row = await connection.fetchrow(_BEGIN, UUID(job_id), epoch, run_id, current)
    if row is None:
        return None
    steps = {
        step_id: StepRow(status, attempt, output, base)
        for step_id, status, attempt, base, output in orjson.loads(row["steps"])
    }
    return JobState(
        job_id=job_id,
        tenant_id=tenant_id,
        epoch=epoch,
        installation_id=row["installation_id"],
        capsule_id=row["capsule_id"],
        environment=row["environment"],
        inputs=orjson.loads(row["inputs"]),
        attachments=tuple(orjson.loads(row["attachments"])),
        submitted_by=row["submitted_by"],
        priority=row["priority"],
        depth=row["depth"],
        session_id=row["session_id"],
        budget_tokens=row["budget_tokens"],
        committed_tokens=row["reserved_tokens"] + row["spent_tokens"],
        pause_requested=row["pause_requested"],
        cancel_requested=row["cancel_requested"],
        deadline=row["deadline"],
        created_at=row["created_at"],
        steps=steps,
        kill_switch_id=row["kill_switch_id"],
    )


async def settle(connection: asyncpg.Connection, job_id: str, epoch: int, settled: Settled) -> Flags | None:
    """Write a step's result, the job's progress and the event, in one statement. None: overtaken, nothing written.

    Raises:
        SomaError: ``payload_too_large``, when the output is over ten MiB.
    """
    concludes = settled.outputs is not None
    row = await connection.fetchrow(
        _SETTLE,
        UUID(job_id),
        epoch,
        settled.step_id,
        settled.action,
        settled.status,
        settled.attempt,
        encode(settled.output),
        encode(settled.verdict) if settled.verdict is not None else None,
        settled.started_at,
        settled.next_step,
        concludes,
        encode(dict(settled.outputs)) if settled.outputs is not None else None,
    )
    return None if row is None else Flags(row["pause_requested"], row["cancel_requested"])


async def mark(
    connection: asyncpg.Connection,
    job_id: str,
    epoch: int,
    step_id: str,
    action: str,
    status: str,
    attempt: int,
    *,
    failure: Failure | None = None,
    job_error: Failure | None = None,
) -> Flags | None:
    """Show that a step is running, waiting, or failed an attempt. None: overtaken, nothing written."""
    row = await connection.fetchrow(
        _MARK,
        UUID(job_id),
        epoch,
        step_id,
        action,
        status,
        attempt,
        encode(failure.model_dump(exclude_none=True)) if failure else None,
        encode(job_error.model_dump(exclude_none=True)) if job_error else None,
    )
    return None if row is None else Flags(row["pause_requested"], row["cancel_requested"])


def encode(value: JsonValue) -> str:
    """JSON text that Postgres can hold: NUL characters, which it cannot, become U+FFFD.

    Raises:
        SomaError: ``payload_too_large``.
    """
    try:
        text = orjson.dumps(value)
    except (orjson.JSONEncodeError, TypeError) as error:
        raise SomaError(Code.PARAMS_INVALID, f"The output cannot be written as JSON: {error}.") from error
    if len(text) > MAX_OUTPUT_BYTES:
        raise SomaError(
            Code.PAYLOAD_TOO_LARGE,
            f"The output has {len(text):,} bytes; at most {MAX_OUTPUT_BYTES:,} are kept. Write it to a file instead.",
        )
    if b"\\u0000" in text:
        text = orjson.dumps(_without_nul(value))
    return text.decode()


def _without_nul(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {key.replace("\x00", "\ufffd"): _without_nul(item) for key, item in value.items()}
    return value

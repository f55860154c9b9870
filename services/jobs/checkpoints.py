"""Checkpoints of steps that change nothing but the job's own record: written together, before anything else happens.

A step without an effect can be done again with nobody the wiser, so its row need not be durable before the next one
begins. What was done is held for a moment and written in one statement: before a step with an effect, before people
are asked, before the job ends or fails, and at the latest after :data:`HELD_SECONDS` or :data:`HELD_STEPS`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import asyncpg

from somagent.domain.actions import action
from somagent.domain.capsules.definition import Step
from somagent.services.jobs.store import FENCE, Flags, JobState, Settled, encode

HELD_STEPS: Final = 64
HELD_SECONDS: Final = 0.05
HELD_BYTES: Final = 1024 * 1024

_SETTLE_ALL = f"""{FENCE}, given AS (
  SELECT * FROM unnest($3::text[], $4::text[], $5::text[], $6::int[], $7::text[], $8::timestamptz[], $9::timestamptz[])
    WITH ORDINALITY AS g(step_id, action, status, attempt, output, started_at, finished_at, position)
), step AS (
  INSERT INTO job_steps AS s (job_id, step_id, tenant_id, action, status, attempt, output, started_at, finished_at)
  SELECT fence.id, g.step_id, fence.tenant_id, g.action, g.status, g.attempt, g.output::jsonb, g.started_at,
    g.finished_at
  FROM fence CROSS JOIN given g
  ON CONFLICT (job_id, step_id) DO UPDATE SET status = excluded.status, attempt = excluded.attempt,
    output = excluded.output, error = NULL, compensated_at = NULL, started_at = excluded.started_at,
    finished_at = excluded.finished_at
  WHERE s.status NOT IN ('completed', 'skipped')
  RETURNING step_id
), done AS (
  SELECT g.step_id, g.action, g.status, row_number() OVER (ORDER BY g.position) AS n, count(*) OVER () AS total
  FROM given g JOIN step USING (step_id)
), job AS (
  UPDATE jobs SET
    steps_done = steps_done + (SELECT count(*) FROM step),
    event_seq = event_seq + (SELECT count(*) FROM step),
    current = $10::text,
    status = CASE WHEN pause_requested THEN 'paused'
      WHEN $10::text IS NULL AND EXISTS (SELECT 1 FROM job_steps s WHERE s.job_id = $1 AND s.step_id <> ALL($3)
        HAVING bool_or(s.status = 'waiting') AND NOT bool_or(s.status IN ('running', 'pending'))) THEN 'waiting'
      ELSE 'running' END
  WHERE id = $1 AND EXISTS (SELECT 1 FROM step)
  RETURNING id, tenant_id, event_seq, steps_done, steps_total, pause_requested, cancel_requested
), event AS (
  INSERT INTO job_events (job_id, seq, tenant_id, type, data)
  SELECT job.id, job.event_seq - done.total + done.n, job.tenant_id, 'step.' || done.status,
    jsonb_build_object('step_id', done.step_id, 'action', done.action,
      'completed', job.steps_done - done.total + done.n, 'total', job.steps_total)
  FROM job CROSS JOIN done
)
SELECT pause_requested, cancel_requested FROM job
"""  # noqa: S608 - a constant of ours


class Overtaken(Exception):
    """Another attempt has written this step, or the job has ended: what was done here is rolled back."""


@dataclass(frozen=True, slots=True)
class _Held:
    row: Settled
    output: str
    finished_at: datetime


class Checkpoint:
    """The steps of one segment that are done and not written yet."""

    def __init__(self, connection: asyncpg.Connection, job: JobState) -> None:
        self._connection = connection
        self._job = job
        self._held: list[_Held] = []
        self._bytes = 0
        self._since = 0.0

    @property
    def due(self) -> bool:
        """Whether what is held should be written before anything more is done."""
        return bool(self._held) and (
            len(self._held) >= HELD_STEPS or self._bytes >= HELD_BYTES or time.monotonic() - self._since >= HELD_SECONDS
        )

    def hold(self, row: Settled) -> None:
        """Take a step that is done; it needs no verdict, having no effect.

        Raises:
            SomaError: ``payload_too_large``, when its output is over ten MiB.
        """
        if not self._held:
            self._since = time.monotonic()
        output = encode(row.output)
        self._bytes += len(output)
        self._held.append(_Held(row, output, datetime.now(UTC)))

    async def write(self) -> bool:
        """Write what is held; whether people want the job stopped.

        Raises:
            Overtaken: nothing was written.
        """
        if not self._held:
            return False
        held, self._held, self._bytes = self._held, [], 0
        row = await self._connection.fetchrow(
            _SETTLE_ALL,
            UUID(self._job.job_id),
            self._job.epoch,
            [one.row.step_id for one in held],
            [one.row.action for one in held],
            [one.row.status for one in held],
            [one.row.attempt for one in held],
            [one.output for one in held],
            [one.row.started_at for one in held],
            [one.finished_at for one in held],
            held[-1].row.next_step,
        )
        if row is None:
            raise Overtaken
        flags = Flags(row["pause_requested"], row["cancel_requested"])
        return flags.pause or flags.cancel


def is_pure(step: Step) -> bool:
    """Whether doing the step twice is as good as doing it once."""
    return not action(step.action).effect and not step.requires_approval and step.save_as is None

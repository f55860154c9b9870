"""Working on a job's steps: segments of light ones, and single heavy ones.

Each step ends in one statement that writes its row, the job's progress and the event; that row is the checkpoint.
An attempt after a crash takes up at the first step without one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import asyncpg
from pydantic import JsonValue

from somagent.adapters.postgres.database import Database, TenantConnection
from somagent.domain.errors import SomaError
from somagent.domain.messages.jobs import WorkArgument, WorkOutcome, WorkResult
from somagent.services.gate.gate import Gate
from somagent.services.jobs.artifacts import save_output
from somagent.services.jobs.checkpoints import Overtaken
from somagent.services.jobs.effects import Act, Effects
from somagent.services.jobs.leave import prepare_with_leave
from somagent.services.jobs.outcome import concluding_outputs, ended
from somagent.services.jobs.places import Places
from somagent.services.jobs.preparation import is_skipped
from somagent.services.jobs.segment import Heartbeat, Segment
from somagent.services.jobs.store import Settled, StepRow, mark, settle
from somagent.services.jobs.work import Work, step_failed, take_up
from somagent.services.rate_limits import RateLimits
from somagent.services.wakeups import Wakeups


class StepRunner:
    """Runs steps against the world and records them."""

    def __init__(
        self,
        database: Database,
        effects: Effects,
        places: Places,
        rate_limits: RateLimits,
        wakeups: Wakeups,
        gate: Gate,
    ) -> None:
        self._database = database
        self._effects = effects
        self._places = places
        self._rate_limits = rate_limits
        self._wakeups = wakeups
        self._gate = gate

    async def run_segment(self, argument: WorkArgument, run_id: str | None, heartbeat: Heartbeat) -> WorkResult:
        """Run light steps in order, each with its checkpoint; stop between two when people want it stopped."""
        try:
            async with self._database.connection(argument.tenant_id) as connection:
                work, result = await take_up(connection, argument, run_id, self._gate)
                if work is None:
                    return result
                return await Segment(connection, work, self._effects, self._places).run(argument, heartbeat)
        finally:
            self._wakeups.job_changed(argument.job_id)

    async def _settle(self, connection: asyncpg.Connection, work: Work, row: Settled, *, concludes: bool) -> bool:
        job = work.job
        job.steps[row.step_id] = StepRow(row.status, row.attempt, row.output)
        outputs = concluding_outputs(work.definition, job) if concludes else None
        flags = await settle(connection, job.job_id, job.epoch, replace(row, outputs=outputs))
        if flags is None:
            raise Overtaken
        return outputs is not None

    async def run_step(self, argument: WorkArgument, run_id: str | None, heartbeat: Heartbeat) -> WorkResult:
        """Run one heavy step: shown as running, done outside any transaction, then recorded."""
        step_id = argument.steps[0]
        async with self._database.connection(argument.tenant_id) as connection:
            work, result = await take_up(connection, argument, run_id, self._gate)
            if work is None:
                return result
            if step_id in work.job.settled:
                return WorkResult(settled=(step_id,))
            if work.job.pause_requested or work.job.cancel_requested:
                return WorkResult(outcome=WorkOutcome.PAUSED)
            act, result = await self._open_step(connection, work, step_id)
        if act is None:
            return result
        try:
            output = (await self._effects.apply(None, act)).model_dump(mode="json", by_alias=True)
        except SomaError as error:
            async with self._database.connection(argument.tenant_id) as connection:
                return await self._step_failed(connection, work, step_id, error)
        return await self._close_step(argument, work, act, output)

    async def _open_step(self, connection: TenantConnection, work: Work, step_id: str) -> tuple[Act | None, WorkResult]:
        step, job = work.steps[step_id], work.job
        attempt = job.attempt(step_id)
        try:
            if await is_skipped(step, job):
                row = Settled(step_id, step.action, "skipped", attempt, None, started_at=datetime.now(UTC))
                await self._settle(connection, work, row, concludes=False)
                return None, WorkResult(settled=(step_id,))
            prepared = await prepare_with_leave(connection, work, step)
            await self._rate_limits.check(prepared.spec, job.tenant_id)
        except Overtaken:
            return None, await ended(connection, job.job_id)
        except SomaError as error:
            return None, await self._step_failed(connection, work, step_id, error)
        if await mark(connection, job.job_id, job.epoch, step_id, step.action, "running", attempt) is None:
            return None, await ended(connection, job.job_id)
        self._wakeups.job_changed(job.job_id)
        context = self._places.context(job, step_id, work.planned[step_id].timeout_seconds)
        return Act(prepared.spec, prepared.params, job, step_id, context, prepared.verdict_json), WorkResult()

    async def _close_step(self, argument: WorkArgument, work: Work, act: Act, output: JsonValue) -> WorkResult:
        step, job = work.steps[act.step_id], work.job
        try:
            if step.save_as is not None:
                save_output(act.context, step.save_as, output)
        except SomaError as error:
            async with self._database.connection(argument.tenant_id) as connection:
                return await self._step_failed(connection, work, act.step_id, error)
        row = Settled(act.step_id, step.action, "completed", job.attempt(act.step_id), output, act.verdict)
        try:
            async with self._database.connection(argument.tenant_id) as connection:
                concluded = await self._settle(connection, work, row, concludes=argument.concludes)
                return WorkResult(settled=(act.step_id,), concluded=concluded)
        except Overtaken:
            async with self._database.connection(argument.tenant_id) as connection:
                return await ended(connection, argument.job_id, settled=(act.step_id,))
        finally:
            self._wakeups.job_changed(argument.job_id)

    async def _step_failed(
        self, connection: asyncpg.Connection, work: Work, step_id: str, error: SomaError
    ) -> WorkResult:
        self._wakeups.job_changed(work.job.job_id)
        return await step_failed(connection, work, step_id, error)

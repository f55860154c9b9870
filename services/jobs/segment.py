"""Running a segment: light steps in order, each with its row before anybody could miss it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from somagent.adapters.postgres.database import TenantConnection
from somagent.domain.capsules.definition import Step
from somagent.domain.errors import SomaError
from somagent.domain.messages.jobs import WorkArgument, WorkOutcome, WorkResult
from somagent.services.jobs.artifacts import save_output
from somagent.services.jobs.checkpoints import Checkpoint, Overtaken, is_pure
from somagent.services.jobs.effects import Act, Effects
from somagent.services.jobs.leave import prepare_with_leave
from somagent.services.jobs.outcome import concluding_outputs, ended
from somagent.services.jobs.places import Places
from somagent.services.jobs.preparation import is_skipped
from somagent.services.jobs.store import Settled, StepRow, settle
from somagent.services.jobs.work import Work, step_failed

Heartbeat = Callable[[], None]


@dataclass
class Segment:
    """One run of light steps over one connection."""

    connection: TenantConnection
    work: Work
    effects: Effects
    places: Places
    settled: list[str] = field(default_factory=list)
    concluded: bool = False

    def __post_init__(self) -> None:
        self._checkpoint = Checkpoint(self.connection, self.work.job)
        self._stop = self.work.job.pause_requested or self.work.job.cancel_requested

    async def run(self, argument: WorkArgument, heartbeat: Heartbeat) -> WorkResult:
        """Every step that is not settled yet; stops between two when people want it stopped."""
        position = 0
        try:
            for position, step_id in enumerate(argument.steps):
                if step_id not in self.work.job.settled:
                    following = next(iter(argument.steps[position + 1 :]), None)
                    step = self.work.steps[step_id]
                    concludes = argument.concludes and following is None
                    if concludes or self._checkpoint.due or not is_pure(step):
                        await self._write()
                    if self._stop:
                        return WorkResult(settled=tuple(self.settled), outcome=WorkOutcome.PAUSED)
                    await self._step(step, following, concludes=concludes)
                    heartbeat()
                self.settled.append(step_id)
            await self._write()
        except Overtaken:
            return await ended(self.connection, argument.job_id)
        except SomaError as error:
            return await self._failed(argument.steps[position], error)
        return WorkResult(settled=tuple(self.settled), concluded=self.concluded)

    async def _write(self) -> None:
        self._stop = await self._checkpoint.write() or self._stop

    async def _step(self, step: Step, following: str | None, *, concludes: bool) -> None:
        """One step done, and written or held."""
        work, job = self.work, self.work.job
        started_at = datetime.now(UTC)
        if await is_skipped(step, job):
            row = Settled(step.id, step.action, "skipped", job.attempt(step.id), None, started_at=started_at)
            return await self._settle(step, row, following, concludes=concludes)
        prepared = await prepare_with_leave(self.connection, work, step)
        context = self.places.context(job, step.id, work.planned[step.id].timeout_seconds)
        act = Act(prepared.spec, prepared.params, job, step.id, context, prepared.verdict_json)

        async def finish() -> None:
            output = (await self.effects.apply(self.connection, act)).model_dump(mode="json", by_alias=True)
            if step.save_as is not None:
                save_output(context, step.save_as, output)
            row = Settled(step.id, step.action, "completed", job.attempt(step.id), output, act.verdict, started_at)
            await self._settle(step, row, following, concludes=concludes)

        if self.effects.is_recorded(prepared.spec):
            async with self.connection.transaction():
                return await finish()
        return await finish()

    async def _settle(self, step: Step, row: Settled, following: str | None, *, concludes: bool) -> None:
        job = self.work.job
        row = replace(row, next_step=following)
        if is_pure(step) and not concludes:
            self._checkpoint.hold(row)
            job.steps[row.step_id] = StepRow(row.status, row.attempt, row.output)
            return
        job.steps[row.step_id] = StepRow(row.status, row.attempt, row.output)
        outputs = concluding_outputs(self.work.definition, job) if concludes else None
        flags = await settle(self.connection, job.job_id, job.epoch, replace(row, outputs=outputs))
        if flags is None:
            raise Overtaken
        self._stop = self._stop or flags.pause or flags.cancel
        self.concluded = outputs is not None

    async def _failed(self, step_id: str, error: SomaError) -> WorkResult:
        """What was done before the step that failed is done."""
        try:
            await self._checkpoint.write()
        except Overtaken:
            return await ended(self.connection, self.work.job.job_id)
        result = await step_failed(self.connection, self.work, step_id, error)
        return result.model_copy(update={"settled": tuple(self.settled)})

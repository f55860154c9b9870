"""Jobs that a step opens: a ``capsule.run`` step is a job of its own, whose outputs become the step's."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid5

import asyncpg
import orjson

from somagent.adapters.postgres.database import Database, TenantConnection
from somagent.domain.actions.remote import CapsuleRunParams
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.jobs import (
    ChildClosed,
    ChildOpened,
    ChildRequest,
    WorkArgument,
    WorkOutcome,
    WorkResult,
)
from somagent.services.gate.gate import Gate
from somagent.services.jobs.control import ENDED_SHORT, reopen
from somagent.services.jobs.leave import prepare_with_leave
from somagent.services.jobs.ordering import argument_again
from somagent.services.jobs.outcome import concluding_outputs, ended
from somagent.services.jobs.preparation import is_skipped
from somagent.services.jobs.requests import JobRequest
from somagent.services.jobs.store import Settled, StepRow, mark, settle
from somagent.services.jobs.submission import MAX_DEPTH, Parent, submit
from somagent.services.jobs.work import Work, step_failed, take_up
from somagent.services.kill_switch.admission import hold_off_stops, require_admitted
from somagent.services.wakeups import Wakeups

_CHILD = """
SELECT status, outputs::text AS outputs, error->>'code' AS code, error->>'detail' AS detail FROM jobs WHERE id = $1
"""


class ChildJobs:
    """Opens and closes the children of ``capsule.run`` steps."""

    def __init__(self, database: Database, wakeups: Wakeups, gate: Gate) -> None:
        self._database = database
        self._wakeups = wakeups
        self._gate = gate

    async def open(self, request: ChildRequest, run_id: str | None) -> ChildOpened:
        """Make the child's job, or find the one that was made; one that had failed is opened again."""
        argument = WorkArgument(
            job_id=request.job_id,
            tenant_id=request.tenant_id,
            epoch=request.epoch,
            steps=(request.step_id,),
            approved=(request.step_id,) if request.approved else (),
        )
        async with self._database.connection(request.tenant_id) as connection, connection.transaction():
            await hold_off_stops(connection)  # before the parent's row is locked: a stop would wait for that
            work, result = await take_up(connection, argument, run_id, self._gate)
            if work is None:
                return ChildOpened(outcome=result.outcome, failure=result.failure, settled=result.concluded)
            if request.step_id in work.job.settled:
                return ChildOpened(settled=True)
            if work.job.pause_requested or work.job.cancel_requested:
                return ChildOpened(outcome=WorkOutcome.PAUSED)
            try:
                return await self._open(connection, work, request.step_id)
            except SomaError as error:
                result = await step_failed(connection, work, request.step_id, error)
                return ChildOpened(outcome=result.outcome, failure=result.failure)

    async def _open(self, connection: TenantConnection, work: Work, step_id: str) -> ChildOpened:
        step, job = work.steps[step_id], work.job
        if await is_skipped(step, job):
            row = Settled(step_id, step.action, "skipped", job.attempt(step_id), None, started_at=datetime.now(UTC))
            await settle(connection, job.job_id, job.epoch, row)
            return ChildOpened(settled=True)
        prepared = await prepare_with_leave(connection, work, step)
        params = prepared.params
        assert isinstance(params, CapsuleRunParams)  # noqa: S101 - only capsule.run opens children
        if job.depth + 1 > MAX_DEPTH:
            raise SomaError(
                Code.CHILD_TOO_DEEP, f"Capsules run capsules at most {MAX_DEPTH} deep; `{step_id}` would go deeper."
            )
        child_id = uuid5(UUID(job.job_id), step_id)
        found = await connection.fetchrow(_CHILD, child_id)
        await mark(connection, job.job_id, job.epoch, step_id, step.action, "running", job.attempt(step_id))
        if found is not None:
            return await _reopened(connection, child_id)
        child = await submit(
            connection,
            job.tenant_id,
            job.submitted_by,
            JobRequest(
                capsule_id=params.capsule_id,
                version=params.version,
                inputs=params.inputs,
                environment=job.environment,
                priority=job.priority,
                session_id=job.session_id,
                budget_tokens=None,
            ),
            job_id=child_id,
            parent=Parent(job.job_id, step_id, job.depth + 1),
        )
        return ChildOpened(argument=child.argument, capsule=f"{child.capsule.capsule_id}@{child.capsule.version}")

    async def close(self, closed: ChildClosed) -> WorkResult:
        """Settle the step with its child's outputs, or fail it with its child's error."""
        argument = WorkArgument(
            job_id=closed.job_id,
            tenant_id=closed.tenant_id,
            epoch=closed.epoch,
            steps=(closed.step_id,),
            concludes=closed.concludes,
        )
        async with self._database.connection(closed.tenant_id) as connection, connection.transaction():
            work, result = await take_up(connection, argument, None, self._gate)
            if work is None:
                return result
            if closed.step_id in work.job.settled:
                return WorkResult(settled=(closed.step_id,))
            child = await connection.fetchrow(_CHILD, UUID(closed.child_job_id))
            if child is None or child["status"] != "completed":
                error = _child_error(closed.child_job_id, child)
                return await step_failed(connection, work, closed.step_id, error, retryable=False)
            return await self._settle(connection, argument, work, orjson.loads(child["outputs"] or "{}"))

    async def _settle(
        self, connection: TenantConnection, argument: WorkArgument, work: Work, outputs: dict[str, object]
    ) -> WorkResult:
        step_id, job = argument.steps[0], work.job
        step = work.steps[step_id]
        attempt = job.attempt(step_id)
        job.steps[step_id] = StepRow("completed", attempt, outputs)  # type: ignore[arg-type]
        concluding = concluding_outputs(work.definition, job) if argument.concludes else None
        row = Settled(step_id, step.action, "completed", attempt, outputs, outputs=concluding)  # type: ignore[arg-type]
        self._wakeups.job_changed(job.job_id)
        if await settle(connection, job.job_id, job.epoch, row) is None:
            return await ended(connection, job.job_id, settled=(step_id,))
        return WorkResult(settled=(step_id,), concluded=concluding is not None)


def _child_error(child_job_id: str, child: asyncpg.Record | None) -> SomaError:
    """The child's own error, so that a job fails with the code of what really went wrong."""
    if child is None:
        return SomaError(Code.CHILD_FAILED, f"The record of the child job {child_job_id} is gone.")
    code = child["code"] if child["code"] in {known.value for known in Code} else Code.CHILD_FAILED
    detail = child["detail"] or "it gave no reason."
    return SomaError(Code(code), f"The child job {child_job_id} ended as {child['status']}: {detail}")


async def _reopened(connection: TenantConnection, child_id: UUID) -> ChildOpened:
    """The child as it stands: to be started, still running, or failed and opened again."""
    child = await connection.fetchrow("SELECT * FROM jobs WHERE id = $1", child_id)
    assert child is not None  # noqa: S101 - the caller has found it
    if child["status"] in ENDED_SHORT:
        await require_admitted(connection, child["tenant_id"], child["capsule_id"], child_id, child["session_id"])
        child = await reopen(connection, child_id)
    argument, _ = await argument_again(connection, child)
    return ChildOpened(argument=argument, capsule=f"{child['capsule_id']}@{child['capsule_version']}")

"""The activities of jobs: each calls a service, and translates its errors."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from somagent.activities.failures import translated
from somagent.adapters.postgres.database import Database
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.jobs import (
    REQUEST_COMPLETION,
    ApprovalDecision,
    ApprovalOpened,
    ApprovalRequest,
    ApprovalStanding,
    ChildClosed,
    ChildOpened,
    ChildRequest,
    Conclusion,
    Failure,
    WorkArgument,
    WorkOutcome,
    WorkResult,
)
from somagent.services.gate.gate import Gate
from somagent.services.jobs.approvals import record_vote
from somagent.services.jobs.asking import ask
from somagent.services.jobs.children import ChildJobs
from somagent.services.jobs.conclusion import conclude
from somagent.services.jobs.model_requests import Waiter
from somagent.services.jobs.models import ModelSteps, Waiting
from somagent.services.jobs.runner import StepRunner
from somagent.services.kill_switch.watching import StopWatch
from somagent.services.notifications import Channels
from somagent.services.wakeups import Wakeups
from somagent.workflows.ports import jobs as ports


class JobWork(ports.JobActivities):
    """Segments, approvals, children and conclusions."""

    def __init__(
        self,
        database: Database,
        runner: StepRunner,
        children: ChildJobs,
        channels: Channels,
        wakeups: Wakeups,
        gate: Gate,
    ) -> None:
        self._database = database
        self._runner = runner
        self._children = children
        self._channels = channels
        self._wakeups = wakeups
        self._gate = gate

    @activity.defn(name=ports.RUN_SEGMENT)
    async def run_segment(self, argument: WorkArgument) -> WorkResult:
        with translated():
            return await self._runner.run_segment(argument, activity.info().workflow_run_id, _heartbeat)

    @activity.defn(name=ports.OPEN_APPROVAL)
    async def open_approval(self, request: ApprovalRequest) -> ApprovalOpened:
        with translated():
            async with self._database.connection(request.tenant_id) as connection, connection.transaction():
                opened = await ask(connection, request, activity.info().workflow_run_id, self._channels, self._gate)
            self._wakeups.job_changed(request.job_id)
            return opened

    @activity.defn(name=ports.RECORD_VOTE)
    async def record_vote(self, decision: ApprovalDecision) -> ApprovalStanding:
        with translated():
            async with self._database.connection(decision.tenant_id) as connection, connection.transaction():
                standing = await record_vote(connection, decision)
            self._wakeups.job_changed(decision.job_id)
            return standing

    @activity.defn(name=ports.OPEN_CHILD)
    async def open_child(self, request: ChildRequest) -> ChildOpened:
        with translated():
            return await self._children.open(request, activity.info().workflow_run_id)

    @activity.defn(name=ports.CLOSE_CHILD)
    async def close_child(self, closed: ChildClosed) -> WorkResult:
        with translated():
            return await self._children.close(closed)

    @activity.defn(name=ports.CONCLUDE_JOB)
    async def conclude_job(self, conclusion: Conclusion) -> Failure | None:
        with translated():
            async with self._database.connection(conclusion.tenant_id) as connection:
                failure = await conclude(connection, conclusion)
            self._wakeups.job_changed(conclusion.job_id)
            return failure


class HeavySteps(ports.StepActivities):
    """Single heavy steps."""

    def __init__(self, runner: StepRunner, stops: StopWatch) -> None:
        self._runner = runner
        self._stops = stops

    @activity.defn(name=ports.RUN_STEP)
    async def run_step(self, argument: WorkArgument) -> WorkResult:
        return await _single(self._runner, self._stops, argument)


class SandboxedSteps(ports.SandboxedActivities):
    """Single steps that run programs."""

    def __init__(self, runner: StepRunner, stops: StopWatch) -> None:
        self._runner = runner
        self._stops = stops

    @activity.defn(name=ports.RUN_SANDBOXED_STEP)
    async def run_sandboxed_step(self, argument: WorkArgument) -> WorkResult:
        return await _single(self._runner, self._stops, argument)


class ModelRequests(ports.ModelActivities):
    """Steps that ask a model: the activity ends when the consumer completes it."""

    def __init__(self, steps: ModelSteps) -> None:
        self._steps = steps

    @activity.defn(name=REQUEST_COMPLETION)
    async def request_completion(self, argument: WorkArgument) -> WorkResult:
        info = activity.info()
        waiter = Waiter(str(info.workflow_id), info.activity_id, str(info.workflow_run_id))
        with translated():
            outcome = await self._steps.request(argument, waiter)
        if isinstance(outcome, Waiting):
            activity.raise_complete_async()
        return _or_raise(outcome)


async def _single(runner: StepRunner, stops: StopWatch, argument: WorkArgument) -> WorkResult:
    """Run the step; a kill switch ends it at once, without waiting for Temporal to tell."""
    with translated():
        beating = asyncio.create_task(_beat())
        working = asyncio.create_task(runner.run_step(argument, activity.info().workflow_run_id, _heartbeat))
        stopped = asyncio.create_task(stops.until_stopped(argument.tenant_id, argument.job_id))
        try:
            await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise SomaError(Code.KILL_SWITCH_ACTIVE, "The kill switch stopped this step.", retryable=False)
            return _or_raise(working.result())
        finally:
            await _ended(beating, working, stopped)


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    """End what still runs, and wait until it has let go: a program is dead then."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _beat() -> None:
    """Heartbeat while a step runs, so that a cancellation reaches it and a dead worker is noticed."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(1.5)


def _heartbeat() -> None:
    if not activity.info().is_local:
        activity.heartbeat()


def _or_raise(result: WorkResult) -> WorkResult:
    """A failed attempt as Temporal shows it: the activity's failure, with the delay until the next attempt."""
    if result.failure is None or result.outcome not in (WorkOutcome.RETRY, WorkOutcome.FAILED):
        return result
    final = result.outcome is WorkOutcome.FAILED
    raise ApplicationError(
        result.failure.detail,
        type=result.failure.code,
        non_retryable=final,
        next_retry_delay=None if final else timedelta(seconds=max(result.retry_after_seconds, 0.05)),
    )

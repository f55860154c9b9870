"""How a job's workflow drives one unit of work until it is settled: activities, approvals, child workflows.

A unit comes back paused, over its budget, or due for another try; only then does it wait here. What it did is in
Postgres, so asking again is always safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError

with workflow.unsafe.imports_passed_through():
    from somagent.domain.actions import Weight
    from somagent.domain.capsules.plan import PlannedStep
    from somagent.domain.capsules.schedule import Schedule, Unit
    from somagent.domain.errors import Code
    from somagent.domain.messages.jobs import (
        ApprovalOpened,
        ApprovalRequest,
        ChildClosed,
        ChildOpened,
        ChildRequest,
        Failure,
        JobArgument,
        WorkArgument,
        WorkOutcome,
        WorkResult,
    )
    from somagent.workflows.attributes import SOMA_CAPSULE, SOMA_STATUS, SOMA_TENANT
    from somagent.workflows.ports import jobs as ports


class StepFailed(Exception):
    """A step has failed for good, and with it the job."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


class JobEnded(Exception):
    """The job was concluded elsewhere; there is nothing left to do."""


class StepsInFlight:
    """What is settled, approved and awaited, and how each kind of unit is driven."""

    def __init__(self, argument: JobArgument) -> None:
        self._argument = argument
        self._schedule = Schedule(argument.plan)
        self.settled: set[str] = set(argument.settled)
        self.approved: set[str] = set(argument.approved)
        self.waiting: dict[str, str] = {}
        self.decided: dict[str, str] = {}
        self.wakes = 0
        self.concluded = False
        self.ended_as = ""
        self.past_first_task = False

    def waits(self, steps: tuple[str, ...]) -> bool:
        """Whether this unit does nothing but wait for people."""
        return set(steps) <= set(self.waiting.values())

    async def work(self, unit: Unit, *, concludes: bool) -> None:
        """Drive one unit until all its steps are settled.

        Raises:
            StepFailed: one of them failed for good.
            JobEnded: the job was concluded elsewhere.
        """
        step = unit.single
        if step is None:
            await self._until_settled(lambda: self._segment(unit.steps, concludes))
            return
        if step.requires_approval and step.id not in self.approved:
            await self._approval(step)
            self.approved.add(step.id)
        match step.weight:
            case Weight.WAIT:
                await self._approval(step)
                self.settled.add(step.id)
            case Weight.CHILD:
                await self._child(step, concludes)
            case Weight.LIGHT:
                await self._until_settled(lambda: self._segment(unit.steps, concludes))
            case _:
                await self._until_settled(lambda: self._activity(step, concludes))

    async def _until_settled(self, attempt: Callable[[], Awaitable[WorkResult]]) -> None:
        while True:
            seen = self.wakes
            result = await attempt()
            self.settled.update(result.settled)
            match result.outcome:
                case WorkOutcome.DONE:
                    self.concluded = self.concluded or result.concluded
                    return
                case WorkOutcome.PAUSED | WorkOutcome.EXHAUSTED:
                    self.past_first_task = True
                    await workflow.wait_condition(lambda seen=seen: self.wakes > seen)  # type: ignore[misc]
                case WorkOutcome.RETRY:
                    self.past_first_task = True
                    await workflow.sleep(result.retry_after_seconds, summary="back-off before the next attempt")
                case WorkOutcome.FAILED:
                    assert result.failure is not None  # noqa: S101 - a failed result carries its failure
                    raise StepFailed(result.failure)
                case WorkOutcome.ENDED:
                    self.ended_as = result.failure.code if result.failure else "cancelled"
                    raise JobEnded

    def _argument_for(self, steps: tuple[str, ...], concludes: bool) -> WorkArgument:
        return WorkArgument(
            job_id=self._argument.job_id,
            tenant_id=self._argument.tenant_id,
            epoch=self._argument.epoch,
            steps=steps,
            concludes=concludes,
            approved=tuple(step for step in steps if step in self.approved),
        )

    async def _segment(self, steps: tuple[str, ...], concludes: bool) -> WorkResult:
        left = tuple(step for step in steps if step not in self.settled)
        argument = self._argument_for(left, concludes)
        worst = self._schedule.worst_case_seconds(left)
        if worst <= ports.LOCAL_SEGMENT_SECONDS:
            return await workflow.execute_local_activity_method(
                ports.JobActivities.run_segment,
                argument,
                start_to_close_timeout=timedelta(seconds=30),
                retry_policy=ports.PATIENTLY,
                summary=_names(left),
            )
        self.past_first_task = True
        return await workflow.execute_activity_method(
            ports.JobActivities.run_segment,
            argument,
            task_queue=ports.ACTIVITY_QUEUE,
            start_to_close_timeout=timedelta(seconds=60 + 10 * worst),
            heartbeat_timeout=ports.HEARTBEAT,
            retry_policy=ports.PATIENTLY,
            summary=_names(left),
        )

    async def _activity(self, step: PlannedStep, concludes: bool) -> WorkResult:
        self.past_first_task = True
        argument = self._argument_for((step.id,), concludes)
        road = ports.ROADS[step.weight]
        try:
            result: WorkResult = await workflow.execute_activity(
                road.activity,
                argument,
                result_type=WorkResult,
                task_queue=road.queue,
                start_to_close_timeout=timedelta(seconds=step.timeout_seconds) + road.margin,
                heartbeat_timeout=road.heartbeat,
                retry_policy=ports.retry_every(step.backoff_seconds),
                summary=step.summary,
                cancellation_type=self._letting_go(road),
            )
            return result
        except ActivityError as error:
            raise StepFailed(_failure(error, step.id)) from error

    def _letting_go(self, road: ports.Road) -> workflow.ActivityCancellationType:
        """A job has not stopped while one of its programs runs; who does not heartbeat cannot tell, and is left."""
        if self._argument.sees_steps_off and road.heartbeat is not None:
            return workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED
        return workflow.ActivityCancellationType.TRY_CANCEL

    async def _approval(self, step: PlannedStep) -> None:
        """Ask people and wait, for weeks if need be."""
        self.past_first_task = True
        request = ApprovalRequest(
            job_id=self._argument.job_id,
            tenant_id=self._argument.tenant_id,
            epoch=self._argument.epoch,
            step_id=step.id,
        )
        opened = await self._ask(step, request)
        self._raise_unless_done(opened.outcome, opened.failure)
        status = opened.status
        if status == "pending":
            self.waiting[opened.approval_id] = step.id
            workflow.upsert_search_attributes([SOMA_STATUS.value_set("waiting")])
            try:
                await workflow.wait_condition(lambda: opened.approval_id in self.decided)
            finally:
                del self.waiting[opened.approval_id]
            workflow.upsert_search_attributes([SOMA_STATUS.value_set("running")])
            status = self.decided[opened.approval_id]
        if status == "rejected" and step.weight is not Weight.WAIT:
            detail = f"People rejected the step `{step.id}`; its effect was left undone."
            raise StepFailed(Failure(code=Code.APPROVAL_REJECTED, detail=detail, step_id=step.id))

    async def _ask(self, step: PlannedStep, request: ApprovalRequest) -> ApprovalOpened:
        while True:
            opened = await workflow.execute_activity_method(
                ports.JobActivities.open_approval,
                request,
                task_queue=ports.ACTIVITY_QUEUE,
                start_to_close_timeout=ports.LOCAL_TIMEOUT * 3,
                retry_policy=ports.PATIENTLY,
                summary=f"{step.id}: ask people",
            )
            if opened.outcome is not WorkOutcome.RETRY:
                return opened
            await workflow.sleep(opened.retry_after_seconds, summary="until people can be asked")

    async def _child(self, step: PlannedStep, concludes: bool) -> None:
        self.past_first_task = True
        request = ChildRequest(
            job_id=self._argument.job_id,
            tenant_id=self._argument.tenant_id,
            epoch=self._argument.epoch,
            step_id=step.id,
            approved=step.id in self.approved,
        )

        async def attempt() -> WorkResult:
            opened = await workflow.execute_activity_method(
                ports.JobActivities.open_child,
                request,
                task_queue=ports.ACTIVITY_QUEUE,
                start_to_close_timeout=ports.LOCAL_TIMEOUT * 3,
                retry_policy=ports.PATIENTLY,
                summary=f"{step.id}: open the child job",
            )
            if opened.outcome is not WorkOutcome.DONE:
                return WorkResult(outcome=opened.outcome, failure=opened.failure)
            if opened.argument is None:
                return WorkResult(settled=(step.id,))
            await self._run_child(opened, step)
            return await self._close_child(opened.argument.job_id, step, concludes)

        await self._until_settled(attempt)

    async def _run_child(self, opened: ChildOpened, step: PlannedStep) -> None:
        assert opened.argument is not None  # noqa: S101 - the caller has looked
        try:
            await workflow.execute_child_workflow(
                "JobExecutionWorkflow",
                opened.argument,
                id=f"job-{opened.argument.job_id}",
                static_summary=f"{opened.capsule} for {step.id} of job {self._argument.job_id}",
                search_attributes=TypedSearchAttributes(
                    [
                        SearchAttributePair(SOMA_TENANT, self._argument.tenant_id),
                        SearchAttributePair(SOMA_CAPSULE, opened.capsule.partition("@")[0]),
                    ]
                ),
            )
        except ChildWorkflowError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # this job is being stopped, and the child with it
            workflow.logger.info("child job ended without success: %s", error.cause)

    async def _close_child(self, child_job_id: str, step: PlannedStep, concludes: bool) -> WorkResult:
        closed = ChildClosed(
            job_id=self._argument.job_id,
            tenant_id=self._argument.tenant_id,
            epoch=self._argument.epoch,
            step_id=step.id,
            child_job_id=child_job_id,
            concludes=concludes,
        )
        return await workflow.execute_activity_method(
            ports.JobActivities.close_child,
            closed,
            task_queue=ports.ACTIVITY_QUEUE,
            start_to_close_timeout=ports.LOCAL_TIMEOUT * 3,
            retry_policy=ports.PATIENTLY,
            summary=f"{step.id}: settle from the child job",
        )

    def _raise_unless_done(self, outcome: WorkOutcome, failure: Failure | None) -> None:
        if outcome is WorkOutcome.ENDED:
            self.ended_as = failure.code if failure else "cancelled"
            raise JobEnded
        if outcome is WorkOutcome.FAILED and failure is not None:
            raise StepFailed(failure)


def _names(steps: tuple[str, ...]) -> str:
    text = " → ".join(steps)
    return text if len(text) <= 180 else f"{len(steps)} steps: {steps[0]} → … → {steps[-1]}"


def _failure(error: ActivityError, step_id: str) -> Failure:
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return Failure(code=cause.type or Code.INTERNAL_ERROR, detail=cause.message, step_id=step_id)
    return Failure(code=Code.INTERNAL_ERROR, detail=f"The step did not end: {error.message}.", step_id=step_id)

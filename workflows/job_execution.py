"""A capsule's run: its DAG, driven to the end over days, restarts and people's decisions."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from somagent.domain.capsules.schedule import Schedule
    from somagent.domain.errors import Code
    from somagent.domain.messages.jobs import (
        ApprovalDecision,
        ApprovalStanding,
        Conclusion,
        Failure,
        JobArgument,
        JobResult,
        JobStatus,
    )
    from somagent.workflows.attributes import SOMA_STATUS
    from somagent.workflows.job_steps import JobEnded, StepFailed, StepsInFlight
    from somagent.workflows.ports.jobs import LOCAL_TIMEOUT, PATIENTLY, JobActivities

T = TypeVar("T")


@workflow.defn(name="JobExecutionWorkflow")
class JobExecutionWorkflow:
    """Runs one job. Its state is the set of settled steps; everything else lies in Postgres."""

    @workflow.init
    def __init__(self, argument: JobArgument) -> None:
        self._argument = argument
        self._steps = StepsInFlight(argument)
        self._tasks: dict[asyncio.Task[None], tuple[str, ...]] = {}
        self._deadline: asyncio.Task[None] | None = None

    @workflow.run
    async def run(self, argument: JobArgument) -> JobResult:
        """Drive every step to its end, then conclude.

        Raises:
            ApplicationError: the job failed; its type is the failed step's code.
        """
        try:
            await self._drive()
        except JobEnded:
            return JobResult(job_id=argument.job_id, status=JobStatus(self._steps.ended_as))
        except StepFailed as failed:
            await _undisturbed(self._fail(failed.failure))
            raise ApplicationError(failed.failure.detail, type=failed.failure.code, non_retryable=True) from None
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            await _undisturbed(self._cancel())
            raise
        if not self._steps.concluded:
            failure = await _undisturbed(self._conclude(JobStatus.COMPLETED, None))
            if failure is not None:
                self._show(JobStatus.FAILED)
                raise ApplicationError(failure.detail, type=failure.code, non_retryable=True)
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._show(JobStatus.COMPLETED)
        return JobResult(job_id=argument.job_id, status=JobStatus.COMPLETED)

    @workflow.signal
    def wake(self) -> None:
        """Something changed in Postgres (resumed, budget raised): look again."""
        self._steps.wakes += 1

    @workflow.update
    async def decide(self, decision: ApprovalDecision) -> ApprovalStanding:
        """One person's vote on a waiting approval."""
        standing = await workflow.execute_local_activity_method(
            JobActivities.record_vote, decision, start_to_close_timeout=LOCAL_TIMEOUT, retry_policy=PATIENTLY
        )
        if standing.status != "pending":
            self._steps.decided[standing.approval_id] = standing.status
        return standing

    @decide.validator
    def _may_decide(self, decision: ApprovalDecision) -> None:
        if decision.approval_id in self._steps.decided:
            raise ApplicationError("This approval is not waiting.", type=Code.APPROVAL_DECIDED, non_retryable=True)

    async def _drive(self) -> None:
        schedule = Schedule(self._argument.plan)
        if self._argument.deadline is not None:
            self._deadline = asyncio.create_task(self._time_out())
        while not self._steps.concluded and not schedule.finished(self._steps.settled):
            if workflow.info().is_continue_as_new_suggested():
                await self._continue_as_new()
            for unit in schedule.units(self._steps.settled, self._running()):
                concludes = not self._tasks and schedule.finished(self._steps.settled | set(unit.steps))
                self._start(self._steps.work(unit, concludes=concludes), unit.steps)
            await self._wait_for_one()

    def _running(self) -> frozenset[str]:
        return frozenset(step for steps in self._tasks.values() for step in steps)

    def _start(self, work: Coroutine[Any, Any, None], steps: tuple[str, ...]) -> None:
        self._tasks[asyncio.create_task(work)] = steps

    async def _wait_for_one(self) -> None:
        """Wait until a unit of work ends, or the job's time is over."""
        waiting: set[asyncio.Task[None]] = set(self._tasks)
        if self._deadline is not None:
            waiting.add(self._deadline)
        done, _ = await workflow.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in sorted(done, key=lambda finished: self._tasks.get(finished, ())):
            self._tasks.pop(task, None)
            await task

    async def _time_out(self) -> None:
        assert self._argument.deadline is not None  # noqa: S101 - the caller has looked
        # A job of light steps alone ends within its first task, and needs no timer.
        await workflow.wait_condition(lambda: self._steps.past_first_task)
        left = (self._argument.deadline - workflow.now()).total_seconds()
        if left > 0:
            await workflow.sleep(left, summary="max_duration_seconds")
        raise StepFailed(
            Failure(code=Code.TIMED_OUT, detail="The job took longer than its capsule's max_duration_seconds allows.")
        )

    async def _continue_as_new(self) -> None:
        """Begin a new history. Units that wait for people are asked again; the rest is let finish first."""
        while any(not self._steps.waits(steps) for steps in self._tasks.values()):
            await self._wait_for_one()
        await self._stop_tasks()
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(
            self._argument.model_copy(
                update={
                    "settled": tuple(sorted(self._steps.settled)),
                    "approved": tuple(sorted(self._steps.approved)),
                }
            )
        )

    async def _stop_tasks(self) -> None:
        tasks = [*self._tasks, *([self._deadline] if self._deadline else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await workflow.wait(tasks)
            for task in tasks:  # an outcome that nobody waits for any more
                if not task.cancelled():
                    task.exception()
        self._tasks.clear()

    async def _fail(self, failure: Failure) -> None:
        await self._stop_tasks()
        await self._conclude(JobStatus.FAILED, failure)
        self._show(JobStatus.FAILED)

    async def _cancel(self) -> None:
        await self._stop_tasks()
        failure = Failure(code=Code.CANCELLED, detail="The job was cancelled.")
        ended_with = await self._conclude(JobStatus.CANCELLED, failure)
        killed = ended_with is not None and ended_with.code == Code.KILL_SWITCH_ACTIVE
        self._show(JobStatus.KILLED if killed else JobStatus.CANCELLED)

    def _show(self, status: JobStatus) -> None:
        """Operators filter runs by this attribute; the change travels with the command that follows."""
        workflow.upsert_search_attributes([SOMA_STATUS.value_set(status.value)])

    async def _conclude(self, status: JobStatus, failure: Failure | None) -> Failure | None:
        argument = self._argument
        return await workflow.execute_local_activity_method(
            JobActivities.conclude_job,
            Conclusion(
                job_id=argument.job_id,
                tenant_id=argument.tenant_id,
                epoch=argument.epoch,
                status=status,
                failure=failure,
            ),
            start_to_close_timeout=LOCAL_TIMEOUT * 3,
            retry_policy=PATIENTLY,
        )


async def _undisturbed(ending: Coroutine[Any, Any, T]) -> T:
    """See an ending through: a cancellation that comes meanwhile comes too late."""
    task = asyncio.create_task(ending)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        return await task

"""A submission's way to its decision: automated findings, then people's votes, for fourteen days at most."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from somagent.domain.messages.review import (
    CAST_VOTE,
    REMINDER_EVERY,
    REVIEW_WORKFLOW,
    SUBMISSION_CHANGED,
    Check,
    CheckReport,
    CheckRequest,
    FindingsReport,
    Reminder,
    ReviewFinding,
    ReviewSnapshot,
    SubmissionChange,
    Vote,
    VoteOrder,
)
from somagent.domain.messages.review_state import ReviewState
from somagent.workflows.attributes import SOMA_STATUS
from somagent.workflows.ports.review import REVIEW_ACTIVITY, VOTE_ACTIVITY, ReviewActivities
from somagent.workflows.refusals import refusals


@workflow.defn(name=REVIEW_WORKFLOW)
class CapsuleReviewWorkflow:
    """Waits for reviewers. Postgres holds the truth; every activity answers with it."""

    @workflow.init
    def __init__(self, state: ReviewState) -> None:
        self._state = state
        self._voting = asyncio.Lock()

    @workflow.run
    async def run(self, state: ReviewState) -> ReviewState:
        """Until the submission is approved, rejected, withdrawn or expired."""
        while self._state.open:
            if not self._state.findings_ready:
                await self._examine()
            elif workflow.now() >= self._state.deadline:
                await self._expire()
            elif workflow.now() >= self._next_reminder():
                await self._remind()
            elif workflow.info().is_continue_as_new_suggested():
                await self._continue()
            else:
                await self._wait(min(self._next_reminder(), self._state.deadline))
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._show()
        workflow.upsert_search_attributes([SOMA_STATUS.value_set(self._state.status.value)])
        return self._state

    @workflow.update(name=CAST_VOTE)
    async def cast_vote(self, vote: Vote) -> ReviewSnapshot:
        """Count a vote, and answer with the status that follows."""
        await workflow.wait_condition(lambda: not self._state.awaits_findings(vote))
        async with self._voting:
            # Another vote may have decided while this one waited for its turn.
            with refusals():
                self._state.check(vote)
            snapshot = await self._record(vote)
            self._state.absorb(snapshot)
            self._show()
            return snapshot

    @cast_vote.validator
    def refuse_vote(self, vote: Vote) -> None:
        """Refuse, without an event in the history, a vote that cannot count."""
        if not self._state.awaits_findings(vote):
            with refusals():
                self._state.check(vote)

    @workflow.signal(name=SUBMISSION_CHANGED)
    def submission_changed(self, change: SubmissionChange) -> None:
        """The submitter has replaced the definition, or withdrawn it."""
        self._state.change(change)

    async def _record(self, vote: Vote) -> ReviewSnapshot:
        order = VoteOrder(submission=self._state.ref, vote=vote)
        try:
            return await workflow.execute_activity_method(
                ReviewActivities.record_vote,
                order,
                summary=f"{vote.decision.value} by {vote.reviewer}",
                **VOTE_ACTIVITY,
            )
        except ActivityError as error:
            raise _refusal(error) from error

    async def _examine(self) -> None:
        state = self._state
        reports = await asyncio.gather(*(self._check(check) for check in Check))
        # A definition replaced between two checks is examined again: the snapshot tells the newer revision.
        revision = min(report.revision for report in reports)
        findings = tuple(finding for report in reports for finding in report.findings)
        snapshot = await workflow.execute_activity_method(
            ReviewActivities.store_findings,
            FindingsReport(submission=state.ref, revision=revision, findings=findings),
            summary=f"revision {revision}: {len(findings)} findings",
            **REVIEW_ACTIVITY,
        )
        state.absorb(snapshot)
        state.next_reminder = workflow.now() + REMINDER_EVERY
        self._show(findings)

    async def _check(self, check: Check) -> CheckReport:
        return await workflow.execute_activity_method(
            ReviewActivities.check,
            CheckRequest(submission=self._state.ref, check=check),
            summary=check.value,
            **REVIEW_ACTIVITY,
        )

    async def _remind(self) -> None:
        state = self._state
        state.reminders += 1
        reminder = Reminder(submission=state.ref, revision=state.revision, number=state.reminders)
        snapshot = await workflow.execute_activity_method(
            ReviewActivities.remind, reminder, summary=f"reminder {reminder.number}", **REVIEW_ACTIVITY
        )
        state.next_reminder = workflow.now() + REMINDER_EVERY
        state.absorb(snapshot)

    async def _expire(self) -> None:
        async with self._voting:
            if self._state.open:
                snapshot = await workflow.execute_activity_method(
                    ReviewActivities.expire, self._state.ref, summary="deadline passed", **REVIEW_ACTIVITY
                )
                self._state.absorb(snapshot)

    async def _wait(self, until: datetime) -> None:
        seen = (self._state.revision, self._state.status)
        pause = max(until - workflow.now(), timedelta(milliseconds=1))
        try:
            await workflow.wait_condition(
                lambda: (self._state.revision, self._state.status) != seen,
                timeout=pause,
                timeout_summary=f"until {until:%Y-%m-%d %H:%M} UTC",
            )
        except TimeoutError:
            return

    async def _continue(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._state.open:
            workflow.continue_as_new(self._state)

    def _next_reminder(self) -> datetime:
        return self._state.next_reminder or self._state.deadline

    def _show(self, findings: tuple[ReviewFinding, ...] = ()) -> None:
        """What the Temporal UI shows of the review right now, as Markdown."""
        state = self._state
        lines = [
            f"**{state.status.value}** · revision {state.revision} · {len(state.approvals)} of {state.quorum} approvals"
            f" · expires {state.deadline:%Y-%m-%d %H:%M} UTC",
            "",
            *(f"- approved by `{reviewer}`" for reviewer in state.approvals),
            *(f"- rejected by `{reviewer}`" for reviewer in state.rejections),
            *(f"- {item.severity}: {item.detail}" for item in findings[:20]),
        ]
        workflow.set_current_details("\n".join(lines))


def _refusal(error: ActivityError) -> ApplicationError:
    """The activity's own refusal, so that the voter reads it rather than that an activity failed."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return ApplicationError(cause.message, type=cause.type, non_retryable=True)
    return ApplicationError("The vote could not be recorded in time; try again.", type="decision_pending")

"""A constitution's way into force: examined, then voted on by distinct people, for fourteen days at most."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from somagent.domain.messages.constitution import (
    CAST_VOTE,
    CONSTITUTION_WORKFLOW,
    PROPOSAL_CLOSED,
    REMINDER_EVERY,
    Ballot,
    BallotOrder,
    ProposalClosed,
    ProposalReminder,
    ProposalSnapshot,
)
from somagent.domain.messages.constitution_state import ProposalState
from somagent.workflows.attributes import SOMA_STATUS
from somagent.workflows.ports.constitution import PROPOSAL_ACTIVITY, ConstitutionActivities
from somagent.workflows.refusals import refusals


@workflow.defn(name=CONSTITUTION_WORKFLOW)
class ConstitutionUpdateWorkflow:
    """Waits for approvers. Postgres holds the truth; every activity answers with it."""

    @workflow.init
    def __init__(self, state: ProposalState) -> None:
        self._state = state
        self._voting = asyncio.Lock()

    @workflow.run
    async def run(self, state: ProposalState) -> ProposalState:
        """Until the proposal is in force, rejected, withdrawn, superseded or expired."""
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
    async def cast_vote(self, ballot: Ballot) -> ProposalSnapshot:
        """Count a vote, and answer with the status that follows: the last one needed brings it into force."""
        await workflow.wait_condition(lambda: not self._state.awaits_findings(ballot))
        async with self._voting:
            # Another vote may have decided while this one waited for its turn.
            with refusals():
                self._state.check(ballot)
            snapshot = await self._record(ballot)
            self._state.absorb(snapshot)
            self._show()
            return snapshot

    @cast_vote.validator
    def refuse_vote(self, ballot: Ballot) -> None:
        """Refuse, without an event in the history, a vote that cannot count."""
        if not self._state.awaits_findings(ballot):
            with refusals():
                self._state.check(ballot)

    @workflow.signal(name=PROPOSAL_CLOSED)
    def proposal_closed(self, closed: ProposalClosed) -> None:
        """The proposer has withdrawn it, or another version is in force."""
        self._state.close(closed.status)

    async def _record(self, ballot: Ballot) -> ProposalSnapshot:
        try:
            return await workflow.execute_activity_method(
                ConstitutionActivities.record_ballot,
                BallotOrder(proposal=self._state.ref, ballot=ballot),
                summary=f"{ballot.decision.value} by {ballot.voter}",
                **PROPOSAL_ACTIVITY,
            )
        except ActivityError as error:
            raise _refusal(error) from error

    async def _examine(self) -> None:
        snapshot = await workflow.execute_activity_method(
            ConstitutionActivities.examine, self._state.ref, summary="examine and rehearse", **PROPOSAL_ACTIVITY
        )
        self._state.absorb(snapshot)
        self._state.next_reminder = workflow.now() + REMINDER_EVERY
        self._show()

    async def _remind(self) -> None:
        state = self._state
        state.reminders += 1
        snapshot = await workflow.execute_activity_method(
            ConstitutionActivities.remind,
            ProposalReminder(proposal=state.ref, number=state.reminders),
            summary=f"reminder {state.reminders}",
            **PROPOSAL_ACTIVITY,
        )
        state.next_reminder = workflow.now() + REMINDER_EVERY
        state.absorb(snapshot)

    async def _expire(self) -> None:
        async with self._voting:
            if self._state.open:
                snapshot = await workflow.execute_activity_method(
                    ConstitutionActivities.expire, self._state.ref, summary="deadline passed", **PROPOSAL_ACTIVITY
                )
                self._state.absorb(snapshot)

    async def _wait(self, until: datetime) -> None:
        pause = max(until - workflow.now(), timedelta(milliseconds=1))
        try:
            await workflow.wait_condition(
                lambda: not self._state.open, timeout=pause, timeout_summary=f"until {until:%Y-%m-%d %H:%M} UTC"
            )
        except TimeoutError:
            return

    async def _continue(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._state.open:
            workflow.continue_as_new(self._state)

    def _next_reminder(self) -> datetime:
        return self._state.next_reminder or self._state.deadline

    def _show(self) -> None:
        """What the Temporal UI shows of the proposal right now, as Markdown."""
        state = self._state
        lines = [
            f"**{state.status.value}** · version {state.version} · {len(state.approvals)} of {state.quorum} approvals"
            f" · expires {state.deadline:%Y-%m-%d %H:%M} UTC",
            "",
            *(f"- approved by `{voter}`" for voter in state.approvals),
            *(f"- rejected by `{voter}`" for voter in state.rejections),
            *([f"- {state.blocking} blocking findings"] if state.blocking else []),
        ]
        workflow.set_current_details("\n".join(lines))


def _refusal(error: ActivityError) -> ApplicationError:
    """The activity's own refusal, so that the voter reads it rather than that an activity failed."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return ApplicationError(cause.message, type=cause.type, non_retryable=True)
    return ApplicationError("The vote could not be recorded; try again.", type="decision_pending")

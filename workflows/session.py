"""A conversation: turns answered one at a time, until somebody ends it or nobody has spoken for half an hour."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import VersioningBehavior
from temporalio.exceptions import ActivityError, is_cancelled_exception

from somagent.domain.messages.session import (
    END_SESSION,
    SESSION_WORKFLOW,
    TAKE_TURN,
    TURN_ANSWERED,
    TURN_WAITS,
    SessionEnd,
    SessionEnding,
    SessionState,
    TurnLook,
    TurnOrder,
    TurnPlace,
    TurnStanding,
)
from somagent.workflows.attributes import SOMA_STATUS
from somagent.workflows.ports.session import ASK_ACTIVITY, SESSION_ACTIVITY, SessionActivities
from somagent.workflows.refusals import refusals

LOOK_EVERY = timedelta(seconds=20)
"""An answer is told by signal; one that is not is found by looking this often."""


class _Session:
    """Holds a session. Postgres holds its turns; Temporal knows their numbers."""

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._answered: set[int] = set()

    async def hold(self) -> SessionState:
        """Until the session is ended or killed."""
        try:
            await self._converse()
        except (asyncio.CancelledError, ActivityError) as error:
            if not is_cancelled_exception(error):
                raise
            await self._cancelled()
            raise
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._show()
        return self._state

    @workflow.update(name=TAKE_TURN)
    async def take_turn(self, order: TurnOrder) -> TurnPlace:
        """Put a recorded turn in line, once. Its answer is told by Postgres, so that no update waits for a model."""
        self._state.enqueue(order.seq)
        return TurnPlace(seq=order.seq, ahead=sum(seq < order.seq for seq in self._state.waiting))

    @take_turn.validator
    def refuse_turn(self, order: TurnOrder) -> None:
        """Refuse, without an event in the history, a turn that cannot be taken."""
        with refusals():
            self._state.check(order)

    @workflow.signal(name=TURN_WAITS)
    def turn_waits(self, order: TurnOrder) -> None:
        """The same from the outbox, for a turn that was recorded while Temporal was away."""
        self._state.enqueue(order.seq)

    @workflow.signal(name=TURN_ANSWERED)
    def turn_answered(self, order: TurnOrder) -> None:
        """The consumer has settled a turn."""
        self._answered.add(order.seq)

    @workflow.signal(name=END_SESSION)
    def end_session(self, end: SessionEnd) -> None:
        """Postgres has ended the session."""
        self._state.status = end.status

    async def _converse(self) -> None:
        state = self._state
        while state.active:
            self._show()
            if state.waiting:
                await self._answer(state.waiting[0])
            elif state.turns_in_run >= state.turns_a_run or workflow.info().is_continue_as_new_suggested():
                await self._continue()
            else:
                await self._wait_for_a_turn()

    async def _answer(self, seq: int) -> None:
        state = self._state
        standing = await self._ask(seq)
        for later in standing.following:
            state.enqueue(later)
        asked = workflow.now()
        while standing.open and state.active and seq not in self._answered:
            if await self._told(seq):
                break
            give_up = workflow.now() - asked >= timedelta(seconds=state.answer_seconds)
            standing = await self._look(seq, give_up=give_up)
        self._answered.discard(seq)
        state.settle(seq)

    async def _ask(self, seq: int) -> TurnStanding:
        try:
            return await workflow.execute_activity_method(
                SessionActivities.ask_turn, self._state.turn(seq), summary=f"turn {seq}", **ASK_ACTIVITY
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            return await self._look(seq, give_up=True)

    async def _told(self, seq: int) -> bool:
        try:
            await workflow.wait_condition(
                lambda: seq in self._answered or not self._state.active,
                timeout=LOOK_EVERY,
                timeout_summary=f"answer to turn {seq}",
            )
        except TimeoutError:
            return False
        return True

    async def _look(self, seq: int, *, give_up: bool = False) -> TurnStanding:
        return await workflow.execute_activity_method(
            SessionActivities.look_at_turn,
            TurnLook(turn=self._state.turn(seq), give_up=give_up),
            summary=f"look at turn {seq}",
            **SESSION_ACTIVITY,
        )

    async def _wait_for_a_turn(self) -> None:
        state = self._state
        try:
            await workflow.wait_condition(
                lambda: bool(state.waiting) or not state.active,
                timeout=timedelta(seconds=state.idle_seconds),
                timeout_summary="idle",
            )
        except TimeoutError:
            await self._end("idle", only_idle=True)

    async def _continue(self) -> None:
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._state.active and not self._state.waiting:
            workflow.continue_as_new(self._state.for_next_run())

    async def _cancelled(self) -> None:
        """Whoever cancels has usually ended the session in Postgres before; an operator in the UI has not."""
        if self._state.active:
            await asyncio.shield(self._end("cancelled"))
        self._show()

    async def _end(self, reason: str, *, only_idle: bool = False) -> None:
        ending = SessionEnding(session=self._state.ref, reason=reason, only_idle=only_idle)
        standing = await workflow.execute_activity_method(
            SessionActivities.end, ending, summary=reason, **SESSION_ACTIVITY
        )
        self._state.absorb(standing)

    def _show(self) -> None:
        """What the Temporal UI shows of the session right now, as Markdown."""
        state = self._state
        waiting = ", ".join(map(str, state.waiting)) or "none"
        workflow.set_current_details(f"**{state.status.value}** · {state.settled} turns answered · waiting: {waiting}")
        if not state.active:
            workflow.upsert_search_attributes([SOMA_STATUS.value_set(state.status.value)])


@workflow.defn(name=SESSION_WORKFLOW)
class SessionWorkflow(_Session):
    """A session, where workers have no versions."""

    @workflow.init
    def __init__(self, state: SessionState) -> None:
        super().__init__(state)

    @workflow.run
    async def run(self, state: SessionState) -> SessionState:
        """See :meth:`_Session.hold`."""
        return await self.hold()


@workflow.defn(name=SESSION_WORKFLOW, versioning_behavior=VersioningBehavior.AUTO_UPGRADE)
class UpgradingSessionWorkflow(_Session):
    """The same, where workers have versions: a session goes on for ever, and its version would never drain.

    Temporal takes a behaviour from versioned workers only, hence two definitions.
    """

    @workflow.init
    def __init__(self, state: SessionState) -> None:
        super().__init__(state)

    @workflow.run
    async def run(self, state: SessionState) -> SessionState:
        """See :meth:`_Session.hold`."""
        return await self.hold()

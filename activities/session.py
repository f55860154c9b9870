"""Sessions: each activity is one unit of work of the session's tenant."""

from __future__ import annotations

from temporalio import activity

from somagent.activities.failures import translated
from somagent.adapters.postgres.database import Database
from somagent.adapters.tools.heartbeat import beating
from somagent.domain.messages.session import SessionEnding, SessionStanding, TurnLook, TurnRef, TurnStanding
from somagent.services.sessions.answering import TurnAnswers
from somagent.services.sessions.holding import end_session
from somagent.services.wakeups import Wakeups
from somagent.workflows.ports import session as port


class PostgresSessionActivities(port.SessionActivities):
    """The port, on Postgres and the queue to models."""

    def __init__(self, database: Database, turns: TurnAnswers, wakeups: Wakeups) -> None:
        self._database = database
        self._turns = turns
        self._wakeups = wakeups

    @activity.defn(name=port.ASK_TURN)
    async def ask_turn(self, turn: TurnRef) -> TurnStanding:
        """Recall, and put the question into the queue."""
        with translated():
            async with beating(activity.heartbeat):
                return await self._turns.ask(turn)

    @activity.defn(name=port.LOOK_AT_TURN)
    async def look_at_turn(self, look: TurnLook) -> TurnStanding:
        """Read the turn's row."""
        with translated():
            async with beating(activity.heartbeat):
                return await self._turns.look(look)

    @activity.defn(name=port.END)
    async def end(self, ending: SessionEnding) -> SessionStanding:
        """Write the session's end."""
        with translated():
            async with beating(activity.heartbeat):
                return await end_session(self._database, self._wakeups, ending)

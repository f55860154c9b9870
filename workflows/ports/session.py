"""What a session asks of Postgres and of the queue to models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from somagent.domain.messages.session import SessionEnding, SessionStanding, TurnLook, TurnRef, TurnStanding
from somagent.workflows.ports.options import CallOptions

ASK_TURN = "session.ask_turn"
LOOK_AT_TURN = "session.look_at_turn"
END = "session.end"

# A session outlives any outage of Postgres or of the queue: it goes on asking, and gives up only on what cannot pass.
# Each is over in a moment, so that a worker that was killed is missed after five seconds.
SESSION_ACTIVITY = CallOptions(
    task_queue="soma-activities",
    start_to_close_timeout=timedelta(seconds=30),
    heartbeat_timeout=timedelta(seconds=5),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=100), backoff_coefficient=2, maximum_interval=timedelta(seconds=10)
    ),
)
# What cannot be asked in this time, because memory or queue are away, fails the turn; the session goes on.
ASK_ACTIVITY = CallOptions(**{**SESSION_ACTIVITY, "schedule_to_close_timeout": timedelta(minutes=3)})


class SessionActivities(ABC):
    """Each is one transaction, and the same again when it is repeated."""

    @activity.defn(name=ASK_TURN)
    @abstractmethod
    async def ask_turn(self, turn: TurnRef) -> TurnStanding:
        """Ask a model for the turn's answer, unless it was asked already; what cannot be asked fails the turn."""

    @activity.defn(name=LOOK_AT_TURN)
    @abstractmethod
    async def look_at_turn(self, look: TurnLook) -> TurnStanding:
        """How the turn stands; where it is to be given up and has no answer, it fails with ``slm_timed_out``."""

    @activity.defn(name=END)
    @abstractmethod
    async def end(self, ending: SessionEnding) -> SessionStanding:
        """End the session, if it has not ended."""

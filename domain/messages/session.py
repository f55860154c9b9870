"""What a session's workflow, its activities, the SLM consumer and the API tell each other.

Prompts and answers never travel here: they lie in Postgres, and a message carries numbers of turns.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Final

from pydantic import ConfigDict, Field

from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model

SESSION_WORKFLOW: Final = "SessionWorkflow"
TAKE_TURN: Final = "take_turn"
TURN_WAITS: Final = "turn_waits"
TURN_ANSWERED: Final = "turn_answered"
END_SESSION: Final = "end_session"

IDLE_AFTER: Final = timedelta(minutes=30)
"""How long a session without a turn stays active."""
LONGEST_LINE: Final = 5
"""Turns of one session that are answered or wait for it, at most; they are answered one at a time, in order."""
TURNS_A_RUN: Final = 200
"""Turns after which the workflow continues as new, whatever Temporal suggests."""


class SessionStatus(StrEnum):
    """Where a session stands."""

    ACTIVE = "active"
    ENDED = "ended"
    KILLED = "killed"


class TurnStatus(StrEnum):
    """Where a turn stands: queued until its model was asked, running until it has answered."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class SessionRef(Model):
    """One session of one tenant."""

    session_id: str
    tenant_id: str


class TurnRef(Model):
    """One turn of a session."""

    session_id: str
    tenant_id: str
    seq: int

    @property
    def request_id(self) -> str:
        """The id of the turn's request to a model, the same over attempts."""
        return f"{self.session_id}:{self.seq}"


class TurnOrder(Model):
    """A turn that is recorded and wants to be answered."""

    seq: int


class TurnPlace(Model):
    """A turn's place in line: how many turns are answered before it."""

    seq: int
    ahead: int


class TurnStanding(Model):
    """How a turn stands in Postgres.

    Attributes:
        following: later turns that wait, for the case that telling of them was lost.
    """

    seq: int
    status: TurnStatus
    following: tuple[int, ...] = ()

    @property
    def open(self) -> bool:
        """Whether its answer is still to come."""
        return self.status in (TurnStatus.QUEUED, TurnStatus.RUNNING)


class TurnLook(Model):
    """Look whether a turn was answered; ``give_up``: settle it as timed out if it was not."""

    turn: TurnRef
    give_up: bool = False


class SessionEnding(Model):
    """End a session; ``only_idle``: unless a turn was recorded meanwhile."""

    session: SessionRef
    status: SessionStatus = SessionStatus.ENDED
    reason: str
    only_idle: bool = False


class SessionEnd(Model):
    """Postgres has ended the session."""

    status: SessionStatus


class SessionStanding(Model):
    """How a session stands in Postgres, with the turns that wait for an answer."""

    status: SessionStatus
    open_turns: tuple[int, ...] = ()


class SessionState(Model):
    """All that a session's workflow knows; its argument, too, so that it continues as new with the same.

    Attributes:
        waiting: recorded turns without an answer, in order.
        settled: the last turn that is done with.
        turns_in_run: turns that this run of the workflow has answered.
        answer_seconds: how long an answer is waited for.
    """

    model_config = ConfigDict(frozen=False, extra="forbid")

    session_id: str
    tenant_id: str
    waiting: list[int] = Field(default_factory=list)
    settled: int = 0
    status: SessionStatus = SessionStatus.ACTIVE
    turns_in_run: int = 0
    idle_seconds: float = IDLE_AFTER.total_seconds()
    turns_a_run: int = TURNS_A_RUN
    answer_seconds: float = 180.0

    @property
    def ref(self) -> SessionRef:
        """The session this is about."""
        return SessionRef(session_id=self.session_id, tenant_id=self.tenant_id)

    @property
    def active(self) -> bool:
        """Whether turns are taken."""
        return self.status is SessionStatus.ACTIVE

    def turn(self, seq: int) -> TurnRef:
        """One of the session's turns."""
        return TurnRef(session_id=self.session_id, tenant_id=self.tenant_id, seq=seq)

    def check(self, order: TurnOrder) -> None:
        """Refuse a turn that cannot be taken.

        Raises:
            SomaError: ``session_ended``, ``session_busy``.
        """
        if not self.active:
            raise session_ended(self.status)
        if order.seq > self.settled and order.seq not in self.waiting and len(self.waiting) >= LONGEST_LINE:
            raise session_busy()

    def enqueue(self, seq: int) -> None:
        """Put a turn in line, once."""
        if seq > self.settled and seq not in self.waiting:
            self.waiting = sorted([*self.waiting, seq])

    def settle(self, seq: int) -> None:
        """A turn is done with."""
        self.waiting = [one for one in self.waiting if one != seq]
        self.settled = max(self.settled, seq)
        self.turns_in_run += 1

    def absorb(self, standing: SessionStanding) -> None:
        """Take over what Postgres holds."""
        self.status = standing.status
        for seq in standing.open_turns:
            self.enqueue(seq)

    def for_next_run(self) -> SessionState:
        """The argument of the run that continues this one."""
        return self.model_copy(update={"turns_in_run": 0})


def session_ended(status: str) -> SomaError:
    """The refusal of a turn that comes too late."""
    return SomaError(Code.SESSION_ENDED, f"The session is {status} and takes no more turns. Start another one.")


def session_busy() -> SomaError:
    """The refusal of a turn while too many wait."""
    return SomaError(
        Code.SESSION_BUSY,
        f"{LONGEST_LINE} turns of this session wait for their answers already. Try again when one is answered.",
        retry_after=1,
    )

"""What runs now, as the supervisor writes it and the other commands read it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from pydantic import Field, ValidationError

from somagent.deploy.local.files import write_private
from somagent.deploy.local.layout import Layout
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model

SUPERVISOR = "supervisor"


class Phase(StrEnum):
    """Where a stack is on its way."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"


class PartState(Model):
    """One part: a process of ours, or an address that was given (then without pid).

    ``probe`` is the address that health checks use and may hold a password; ``url`` is for people and never does.
    ``started`` is the process' start in seconds since the epoch: with the pid it names one process for ever.
    """

    name: str
    url: str
    probe: str = ""
    pid: int | None = None
    started: float | None = None
    restarts: int = 0


class StackState(Model):
    """The whole stack; ``environment`` is what the children were given, ``postgres_owner_url`` what migrations were."""

    phase: Phase
    message: str = ""
    parts: list[PartState] = Field(default_factory=list)
    environment: dict[str, str] = Field(default_factory=dict)
    postgres_owner_url: str = ""

    def part(self, name: str) -> PartState | None:
        """The part of that name."""
        return next((part for part in self.parts if part.name == name), None)


def write_state(layout: Layout, state: StackState) -> None:
    """Records the state for the other commands."""
    write_private(layout.state_file, state.model_dump_json(indent=2))


def read_state(layout: Layout) -> StackState | None:
    """The last recorded state, of a stack that may have died since."""
    try:
        return StackState.model_validate_json(layout.state_file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValidationError):
        return None


def is_running(layout: Layout) -> bool:
    """Whether a supervisor holds the stack's lock."""
    if not layout.lock_file.exists():
        return False
    descriptor = os.open(layout.lock_file, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def supervisor_lock(layout: Layout) -> Iterator[bool]:
    """Holds the stack's lock for as long as the supervisor lives; yields False when another one holds it.

    The kernel frees it with the process, so a killed supervisor leaves nothing to clean up.
    """
    descriptor = os.open(layout.lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _locked_soon(descriptor)
    finally:
        os.close(descriptor)


def _locked_soon(descriptor: int) -> bool:
    """Tries for a moment, since :func:`is_running` holds the lock while it looks."""
    for _ in range(10):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.03)
        else:
            return True
    return False


def running_state(layout: Layout) -> StackState:
    """The state of a running stack.

    Raises:
        SomaError: ``stack_not_running``.
    """
    state = read_state(layout) if is_running(layout) else None
    if state is None:
        raise SomaError(Code.STACK_NOT_RUNNING, f"No stack is running in {layout.root}. Start it with `somagent up`.")
    return state

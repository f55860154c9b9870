"""One part under watch: started, found dead, started again with growing pauses, ended in order."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from somagent.deploy.local import health
from somagent.deploy.local.part import Part
from somagent.deploy.local.processes import Launch, Process, last_lines, start, start_time
from somagent.deploy.local.state import PartState
from somagent.domain.errors import Code, SomaError

Starter = Callable[[Launch, Path], Process]
RESTART_LIMIT = 5
START_LIMIT = 2
"""Deaths that are forgiven while the stack comes up: enough for a lock that a predecessor has just left."""
RESTART_WINDOW_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_EXCERPT_LINES = 5


class Watched:
    """A part and its process. All methods return at once."""

    def __init__(self, part: Part, log: Path, starter: Starter = start) -> None:
        self.part = part
        self._starter = starter
        self._log = log
        self._process: Process | None = None
        self._started: float | None = None
        self._deaths: list[float] = []
        self._due = 0.0
        self._restarts = 0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the process.

        Raises:
            SomaError: ``part_failed`` when the program cannot be run.
        """
        try:
            self._process = self._starter(self.part.launch, self._log)
        except OSError as error:
            raise SomaError(Code.PART_FAILED, f"{self.part.name} cannot be started: {error}") from error
        self._started = start_time(self._process.pid)

    def fault(self) -> str:
        """Why the part does not answer yet; empty when it does."""
        return health.fault(self.part.probe)

    def revive(self, limit: int = RESTART_LIMIT) -> bool:
        """Notes a death and starts the part again when its pause is over; whether there is news for the state file.

        Raises:
            SomaError: ``part_failed`` when it died more than ``limit`` times within a minute.
        """
        if self.running:
            return False
        now = time.monotonic()
        if self._process is not None:
            self._end_session(self._process.pid)
            self._process = None
            self._note_death(now, limit)
            return True
        if now < self._due:
            return False
        self._restarts += 1
        self.start()
        return True

    def _note_death(self, now: float, limit: int) -> None:
        self._deaths = [death for death in self._deaths if now - death < RESTART_WINDOW_SECONDS] + [now]
        if len(self._deaths) > limit:
            raise self.failure(f"died {len(self._deaths)} times within {RESTART_WINDOW_SECONDS:.0f} s")
        recent = len(self._deaths) - 1
        pause = min(_FIRST_PAUSE_SECONDS * 2**recent, _LONGEST_PAUSE_SECONDS) if recent else 0.0
        self._due = now + pause

    def failure(self, what: str) -> SomaError:
        """The error that names the part, what happened and where to read on."""
        excerpt = "".join(f"\n    {line[:300]}" for line in last_lines(self._log, _EXCERPT_LINES))
        return SomaError(Code.PART_FAILED, f"{self.part.name} {what}. Its log is {self._log}; it ends with:{excerpt}")

    def ask_to_end(self) -> None:
        """Sends the signal that makes the part end in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.part.stop_signal)

    def kill(self) -> None:
        """Ends the process and what it left in its session."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._end_session(self._process.pid)

    @staticmethod
    def _end_session(leader: int) -> None:
        """Kills what a dead process left in the session that it led."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)

    def state(self) -> PartState:
        """What the state file says of the part."""
        pid = self._process.pid if self._process is not None else None
        part = self.part
        return PartState(
            name=part.name, url=part.url, probe=part.probe, pid=pid, started=self._started, restarts=self._restarts
        )

"""The supervisor's side of the preloader: asks it for processes and watches them like children of its own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from somagent.deploy.local.fork_messages import EndRequest, ForkRequest, Reply, Request
from somagent.deploy.local.processes import last_lines, rotate, start_piped
from somagent.domain.errors import Code, SomaError

NAME = "preloader"
_REPLY_SECONDS = 120.0
"""The first reply comes after all imports; a busy machine may take long over them."""


def usable() -> bool:
    """Whether this system can watch a grandchild exactly (Linux 5.3 with pidfd_open)."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


class Forked:
    """A process that the preloader forked; behaves as ``subprocess.Popen`` does where the supervisor needs it."""

    def __init__(self, pid: int, preloader: Preloader) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._preloader = preloader
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        if self.returncode is None and select.select([self._handle], [], [], 0)[0]:
            self._note_end()
        return self.returncode

    def wait(self) -> int:
        """Waits for the end."""
        if self.returncode is None:
            select.select([self._handle], [], [])
            self._note_end()
        return self.returncode if self.returncode is not None else -signal.SIGKILL

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal; none when it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)

    def _note_end(self) -> None:
        os.close(self._handle)
        self.returncode = self._preloader.exit_code(self.pid)


class Preloader:
    """The preloader's process, started when it is first needed and again after it died."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, also for a moment after it died; None before it was started."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Starts it, if it does not run; it imports while the caller goes on."""
        if self._process is None or self._process.poll() is not None:
            self.stop()
            command = [sys.executable, "-m", "somagent.cli.preload"]
            self._process = start_piped(command, self._environment, self._log)

    def fork(self, arguments: Sequence[str], environment: dict[str, str], log: Path, title: str) -> Forked:
        """A new process that runs ``somagent`` with these arguments, or the preparation when there are none.

        Raises:
            SomaError: ``part_failed`` when the preloader has died.
        """
        rotate(log)
        self.start()
        request = ForkRequest(arguments=list(arguments), environment=environment, log=str(log), title=title)
        return Forked(self._ask(Request(fork=request)).pid, self)

    def exit_code(self, pid: int) -> int:
        """How a process ended, which has; -9 when the preloader died with it."""
        try:
            code = self._ask(Request(end=EndRequest(pid=pid))).code
        except SomaError:
            code = None
        return code if code is not None else -signal.SIGKILL

    def _ask(self, request: Request) -> Reply:
        process = self._process
        try:
            if process is None or process.stdin is None or process.stdout is None:
                raise BrokenPipeError
            process.stdin.write(request.model_dump_json(exclude_none=True).encode() + b"\n")
            answered, _, _ = select.select([process.stdout], [], [], _REPLY_SECONDS)
            line = process.stdout.readline() if answered else b""
            if not line:
                raise BrokenPipeError
        except OSError as error:
            excerpt = "".join(f"\n    {text}" for text in last_lines(self._log, 5))
            raise SomaError(Code.PART_FAILED, f"The preloader died. Its log is {self._log}:{excerpt}") from error
        return Reply.model_validate_json(line)

    def stop(self) -> None:
        """Ends it, and with it every process that it still has."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process = None

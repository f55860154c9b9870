"""Starting a process so that it cannot outlive its supervisor, and telling it from a namesake later."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypedDict

import psutil

_PR_SET_PDEATHSIG = 1
_LOG_LIMIT_BYTES = 20 * 1024 * 1024
_KILL_SECONDS = 5.0
_POLL_SECONDS = 0.05
_SAME_START_SECONDS = 2.0
"""Start times come from a boot time that shifts when the clock is set; process ids do not repeat within this."""

# Loaded before any fork: between fork and exec nothing may be imported.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Process(Protocol):
    """What the supervisor needs of a process that it started."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""

    def wait(self) -> int:
        """Waits for the end and returns the exit code."""

    def send_signal(self, number: signal.Signals, /) -> None:
        """Sends a signal; none when it has ended."""

    def kill(self) -> None:
        """Ends it at once."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a program: its arguments, the whole environment, and the user where it is not ours.

    ``somagent`` holds the arguments of a process that is SomaGent itself, which the preloader can fork.
    """

    argv: Sequence[str]
    somagent: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    death_signal: signal.Signals = signal.SIGKILL
    """Sent by the kernel when the supervisor dies (Linux)."""


def start(launch: Launch, log: Path) -> subprocess.Popen[bytes]:
    """Starts the program in a session of its own, so that a terminal's Ctrl-C reaches the supervisor only."""
    rotate(log)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(launch.argv),
            env=launch.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **as_user(launch.user),
            cwd="/",
            preexec_fn=_die_with_parent(launch.death_signal),
        )


class Identity(TypedDict, total=False):
    """The arguments of ``subprocess`` that make a process another user's."""

    user: int
    group: int
    extra_groups: list[int]


def as_user(name: str | None) -> Identity:
    """The identity of the user; nothing for ourselves."""
    if name is None:
        return {}
    entry = pwd.getpwnam(name)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def start_piped(command: Sequence[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a helper that is spoken to over its standard input and output; it is killed with the supervisor."""
    rotate(log)
    with log.open("ab") as errors:
        return subprocess.Popen(
            list(command),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,  # what a dead helper did not read must not come up again when the stream is closed
            start_new_session=True,
            cwd="/",
            preexec_fn=_die_with_parent(signal.SIGKILL),
        )


def _die_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:  # the parent died before the call above
            os._exit(1)

    return arrange


def rotate(log: Path) -> None:
    """Keeps one older log of bounded size. The writer appends, so it goes on at the start of the emptied file."""
    if not log.exists() or log.stat().st_size < _LOG_LIMIT_BYTES:
        return
    older = log.with_name(f"{log.name}.1")
    older.write_bytes(log.read_bytes())
    os.truncate(log, 0)


def start_time(pid: int) -> float | None:
    """When the process started, in seconds since the epoch; None when there is no such process."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def alive(pid: int | None, started: float | None) -> psutil.Process | None:
    """The process that had this pid and start time, if it still runs."""
    if pid is None or started is None:
        return None
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started) < _SAME_START_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


def end(process: psutil.Process, first: signal.Signals, patience_seconds: float) -> None:
    """Asks a process that is not our child to end, and kills it when it does not."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(first)
        if not _gone_within(process, patience_seconds):
            process.kill()
            _gone_within(process, _KILL_SECONDS)


def _gone_within(process: psutil.Process, seconds: float) -> bool:
    """Waits until the process has ended. A zombie has: that its parent does not reap it is not our matter."""
    deadline = time.monotonic() + seconds
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log, without the empty ones."""
    if not log.exists():
        return []
    text = log.read_bytes()[-64_000:].decode("utf-8", errors="replace")
    return [line for line in text.splitlines() if line.strip()][-count:]

"""One child process from start to end, within limits of time and output."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from somagent.adapters.tools.heartbeat import beating
from somagent.domain.errors import Code, SomaError

_CHUNK = 64 * 1024
_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start, and what it may use.

    Attributes:
        argv: program and arguments; the program is an absolute path.
        pass_fds: open files that the program gets; closed here once it runs.
        stop_signal: what ends the program together with everything it started.
        max_output_bytes: limit for each of the two streams.
    """

    argv: Sequence[str]
    stdin: bytes
    timeout_seconds: float
    max_output_bytes: int
    env: Mapping[str, str] = field(default_factory=dict)
    pass_fds: Sequence[BinaryIO] = ()
    stop_signal: signal.Signals = signal.SIGKILL


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended: its exit code (128 + signal number where a signal ended it) and what it printed."""

    exit_code: int
    stdout: bytes
    stderr: bytes


async def finish(launch: Launch, heartbeat: Callable[[], None]) -> Finished:
    """Run to the end. Whatever ends this call, also its cancellation, ends the program.

    Raises:
        SomaError: STEP_TIMED_OUT, OUTPUT_TOO_LARGE.
    """
    process = await _start(launch)
    try:
        async with beating(heartbeat), asyncio.timeout(launch.timeout_seconds):
            stdout, stderr = await _converse(process, launch)
            code = await process.wait()
    except TimeoutError:
        raise SomaError(
            Code.STEP_TIMED_OUT, f"The program was stopped: it ran longer than {launch.timeout_seconds:g} seconds."
        ) from None
    finally:
        await _stop(process, launch.stop_signal)
    return Finished(128 - code if code < 0 else code, stdout, stderr)


async def _converse(process: asyncio.subprocess.Process, launch: Launch) -> tuple[bytes, bytes]:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_feed(process, launch.stdin))
            stdout = group.create_task(_collect(process.stdout, launch.max_output_bytes))
            stderr = group.create_task(_collect(process.stderr, launch.max_output_bytes))
    except* _TooMuchOutput:
        raise SomaError(
            Code.OUTPUT_TOO_LARGE,
            f"The program was stopped: it printed more than {launch.max_output_bytes:,} bytes. "
            "Let it write to a file instead.",
        ) from None
    return stdout.result(), stderr.result()


class _TooMuchOutput(Exception):
    pass


async def _start(launch: Launch) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *launch.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(launch.env),
            pass_fds=[file.fileno() for file in launch.pass_fds],
            start_new_session=True,
        )
    finally:
        for file in launch.pass_fds:
            file.close()


async def _feed(process: asyncio.subprocess.Process, content: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - a pipe was asked for
    # A program may end before it has read anything; uvloop says so by a RuntimeError.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError, RuntimeError):
        process.stdin.write(content)
        await process.stdin.drain()
    process.stdin.close()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        await process.stdin.wait_closed()


async def _collect(stream: asyncio.StreamReader | None, limit: int) -> bytes:
    assert stream is not None  # noqa: S101 - a pipe was asked for
    content = bytearray()
    while part := await stream.read(_CHUNK):
        content += part
        if len(content) > limit:
            raise _TooMuchOutput
    return bytes(content)


async def _stop(process: asyncio.subprocess.Process, stop_signal: signal.Signals) -> None:
    """End the process if it still runs, and wait for its end even while this call is being cancelled."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(stop_signal)
        await asyncio.shield(asyncio.ensure_future(_gone(process)))


async def _gone(process: asyncio.subprocess.Process) -> None:
    """Wait until the program has ended and, by the end of its streams, everything that it started too."""
    try:
        async with asyncio.timeout(_GRACE_SECONDS):
            await asyncio.gather(_drain(process.stdout), _drain(process.stderr), process.wait())
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.gather(_drain(process.stdout), _drain(process.stderr), process.wait())


async def _drain(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(_CHUNK):
        pass

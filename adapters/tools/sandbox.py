"""Where programs run: confined by bubblewrap, else by Landlock, else not at all."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Protocol

from somagent.adapters.tools import confine
from somagent.adapters.tools.bubblewrap import BWRAP_NAMES, Bubblewrap
from somagent.adapters.tools.grant import Grant
from somagent.adapters.tools.landlock import HELPER, Landlock
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.process import Finished, Launch, finish
from somagent.domain.errors import Code, SomaError

_PROBE_SECONDS = 10.0
_NOT_EXECUTED = (b"prlimit: failed to execute", confine.FAILED_TO_EXECUTE.encode())
_NOT_CONFINED = (b"bwrap: ", b"confine: cannot confine")


class Confinement(Protocol):
    """A way to confine a program."""

    def prepared(self, context: ToolContext, command: Sequence[str], grant: Grant) -> AbstractContextManager[Launch]:
        """How to run ``command`` in the job's folder, which is made ready for it."""
        ...


class Sandbox:
    """Runs programs as an unprivileged user that sees the job's folder and system programs only.

    Which confinement this machine can do is tried out once, before the first program runs.

    Args:
        confinement: the one to use; absent, the first that works here.
    """

    def __init__(self, confinement: Confinement | None = None) -> None:
        self._confinement = confinement
        self._choosing = asyncio.Lock()

    async def run(self, context: ToolContext, command: Sequence[str], grant: Grant) -> Finished:
        """Run ``command`` to its end. A non-zero exit code is an ordinary end.

        Raises:
            SomaError: SANDBOX_UNAVAILABLE; COMMAND_NOT_FOUND; STEP_TIMED_OUT after ``context.timeout_seconds``;
                OUTPUT_TOO_LARGE; PATH_OUTSIDE_WORKSPACE where a link took the place of a shared folder.
        """
        confinement = await self.confinement()
        with ExitStack() as stack:
            launch = await asyncio.to_thread(stack.enter_context, confinement.prepared(context, command, grant))
            finished = await finish(launch, context.heartbeat)
        if finished.exit_code and finished.stderr.startswith(_NOT_EXECUTED):
            reason = finished.stderr.decode(errors="replace").rpartition(":")[2].strip()
            raise SomaError(
                Code.COMMAND_NOT_FOUND,
                f"{command[0]!r} cannot be run: {reason or 'not found'}. Only the machine's system programs and files "
                "in the job's folder are there.",
            )
        if finished.exit_code and finished.stderr.startswith(_NOT_CONFINED):
            reason = finished.stderr.decode(errors="replace").strip()
            raise SomaError(Code.SANDBOX_UNAVAILABLE, f"The sandbox could not be set up: {reason}")
        return finished

    async def confinement(self) -> Confinement:
        """The confinement in use.

        Raises:
            SomaError: SANDBOX_UNAVAILABLE where none works.
        """
        async with self._choosing:
            if self._confinement is None:
                self._confinement = await _first_that_works()
            return self._confinement


async def _first_that_works() -> Confinement:
    for candidate in _candidates():
        if await works(candidate):
            return candidate
    raise SomaError(
        Code.SANDBOX_UNAVAILABLE,
        "Neither bubblewrap nor Landlock can confine programs here. Install bubblewrap (bwrap) and let the worker make "
        "namespaces, or run it on Linux 6.12 or later.",
    )


def _candidates() -> Iterator[Confinement]:
    as_root = os.geteuid() == 0
    for bwrap in BWRAP_NAMES:
        if Path(bwrap).exists():
            for own_process_count in (True, False) if as_root else (True,):
                yield Bubblewrap(bwrap, as_root=as_root, own_process_count=own_process_count)
    yield Landlock(as_root=as_root)


async def works(candidate: Confinement) -> bool:
    """Whether ``true`` really runs under this confinement, and where it is Landlock, whether the kernel has enough."""
    if isinstance(candidate, Landlock) and not await _kernel_has_landlock():
        return False
    with tempfile.TemporaryDirectory(prefix="somagent-probe-", ignore_cleanup_errors=True) as folder:
        context = ToolContext("probe", "probe", "probe", "probe:probe", Path(folder), timeout_seconds=_PROBE_SECONDS)
        try:
            with candidate.prepared(context, ["true"], Grant()) as launch:
                return (await finish(launch, context.heartbeat)).exit_code == 0
        except (OSError, SomaError):
            return False


async def _kernel_has_landlock() -> bool:
    launch = Launch([*HELPER, "--probe"], b"", _PROBE_SECONDS, 1024)
    try:
        return (await finish(launch, lambda: None)).exit_code == 0
    except (OSError, SomaError):
        return False

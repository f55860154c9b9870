"""Ending what a killed supervisor may have left: only processes that are surely the recorded ones."""

from __future__ import annotations

import signal
from collections.abc import Callable

from somagent.deploy.local import postgres, redis, temporal
from somagent.deploy.local.layout import Layout
from somagent.deploy.local.processes import alive, end
from somagent.deploy.local.state import SUPERVISOR, read_state

_ORDERLY = {postgres.NAME: signal.SIGINT, redis.NAME: signal.SIGTERM, temporal.NAME: signal.SIGTERM}
_PATIENCE_SECONDS = 20.0


def stop_leftovers(layout: Layout, report: Callable[[str], None]) -> list[str]:
    """Ends the recorded processes that still run although their supervisor does not; the stack's lock must be free
    or ours.

    Servers end in order, so that their data is whole; SomaGent's own processes are built to be killed.

    Returns:
        The names of the parts that were ended.
    """
    state = read_state(layout)
    ended: list[str] = []
    for part in reversed(state.parts if state is not None else []):
        process = alive(part.pid, part.started)
        if process is None or part.name in (SUPERVISOR, temporal.UI):
            continue
        report(f"ending {part.name} (process {process.pid}), left by a stack that died")
        end(process, _ORDERLY.get(part.name, signal.SIGKILL), _PATIENCE_SECONDS)
        ended.append(part.name)
    return ended

"""Ending a stack from outside its supervisor."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from somagent.deploy.local.layout import Layout
from somagent.deploy.local.leftovers import stop_leftovers
from somagent.deploy.local.processes import alive
from somagent.deploy.local.state import SUPERVISOR, PartState, is_running, read_state, supervisor_lock
from somagent.domain.errors import Code, SomaError

_PATIENCE_SECONDS = 100.0
"""Longer than all parts together may take to end."""
_POLL_SECONDS = 0.1


def shut_down(layout: Layout, report: Callable[[str], None]) -> bool:
    """Ends the stack in order, also what is left of one whose supervisor was killed.

    Returns:
        Whether there was anything to end.

    Raises:
        SomaError: ``part_failed`` when the supervisor does not end.
    """
    if not layout.lock_file.exists():
        return False
    was_running = is_running(layout)
    if was_running:
        report("ending the API and the workers, then the servers")
        _end_supervisor(layout)
    with supervisor_lock(layout) as mine:
        left = stop_leftovers(layout, report) if mine else []
        if mine:
            layout.state_file.unlink(missing_ok=True)
    return was_running or bool(left)


def _end_supervisor(layout: Layout) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    supervisor: PartState | None = None
    asked = False
    while is_running(layout) or (supervisor is not None and alive(supervisor.pid, supervisor.started)):
        state = read_state(layout)
        if state is not None:
            supervisor = state.part(SUPERVISOR)
        process = alive(supervisor.pid, supervisor.started) if supervisor is not None else None
        if process is not None and not asked:
            process.send_signal(signal.SIGTERM)
            asked = True
        if time.monotonic() > deadline:
            raise SomaError(
                Code.PART_FAILED,
                f"The supervisor did not end within {_PATIENCE_SECONDS:.0f} s; its log is {layout.log_of(SUPERVISOR)}.",
            )
        time.sleep(_POLL_SECONDS)

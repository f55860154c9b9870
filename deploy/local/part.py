"""What the supervisor needs to know about one part of the stack."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from somagent.deploy.local.processes import Launch


@dataclass(frozen=True, slots=True)
class Part:
    """A program to run and how to see that it answers.

    Args:
        name: as in the table and in the log's name.
        launch: how to start it.
        url: its address for people, without password.
        probe: its address for health checks (``http:``, ``redis:``, ``postgresql:`` or ``temporal:``).
        start_seconds: how long it may take until it answers.
        stop_signal: what makes it end in order.
        stop_seconds: how long that may take before it is killed.
    """

    name: str
    launch: Launch
    url: str
    probe: str
    start_seconds: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0

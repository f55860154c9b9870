"""Reading the parts' logs, and going on as they grow."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from somagent.deploy.local.layout import Layout
from somagent.deploy.local.processes import last_lines

_FIRST_LINES = 100
_POLL_SECONDS = 0.3


def log_names(layout: Layout) -> list[str]:
    """The parts that have a log."""
    return sorted(log.stem for log in layout.logs.glob("*.log")) if layout.logs.is_dir() else []


def show_logs(layout: Layout, names: list[str], show: Callable[[str], None], *, go_on: bool) -> None:
    """Shows the last lines of each log, then the new ones until interrupted. With several logs, lines say whose."""
    prefixes = {name: f"{name} | " if len(names) > 1 else "" for name in names}
    read = {name: _size(layout.log_of(name)) for name in names}
    for name in names:
        for line in last_lines(layout.log_of(name), _FIRST_LINES):
            show(prefixes[name] + line)
    while go_on:
        time.sleep(_POLL_SECONDS)
        for name in names:
            lines, read[name] = _new_lines(layout.log_of(name), read[name])
            for line in lines:
                show(prefixes[name] + line)


def _size(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


def _new_lines(log: Path, position: int) -> tuple[list[str], int]:
    """The whole lines written since, and how far that is; a log that shrank was rotated and is read from its start."""
    if not log.exists():
        return [], 0
    position = position if position <= _size(log) else 0
    with log.open("rb") as file:
        file.seek(position)
        new = file.read()
    whole = new[: new.rfind(b"\n") + 1]
    return whole.decode("utf-8", errors="replace").splitlines(), position + len(whole)

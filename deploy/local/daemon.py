"""The supervisor as a process: in the foreground of a terminal, or detached with a log of its own."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from somagent.deploy.local.layout import Layout
from somagent.deploy.local.plan import Wishes
from somagent.deploy.local.processes import last_lines, rotate
from somagent.deploy.local.state import SUPERVISOR, Phase, StackState, is_running, read_state, supervisor_lock
from somagent.deploy.local.supervisor import Supervisor
from somagent.domain.errors import Code, SomaError

LOCK_HELD = 75
"""Exit code of a supervisor that found another one at work (EX_TEMPFAIL of sysexits.h)."""
_POLL_SECONDS = 0.1
_READY_PATIENCE_SECONDS = 240.0


def run_here(
    layout: Layout, wishes: Wishes, report: Callable[[str], None], on_ready: Callable[[StackState], None]
) -> bool:
    """Supervises the stack in this process until a signal ends it.

    Returns:
        False when another supervisor has this data directory, True after an orderly end.

    Raises:
        SomaError: a part failed for good; nothing runs then.
    """
    with supervisor_lock(layout) as mine:
        if mine:
            Supervisor(layout, wishes, report).run(on_ready)
        return mine


def run_detached(layout: Layout, wishes: Wishes, report: Callable[[str], None]) -> StackState:
    """Starts a supervisor that outlives this process, and waits until every part answers.

    Raises:
        SomaError: ``part_failed`` with the supervisor's reason; nothing runs then.
    """
    log = layout.log_of(SUPERVISOR)
    rotate(log)
    arguments = ["--data-dir", str(layout.root)]
    if wishes.port is not None:
        arguments += ["--port", str(wishes.port)]
    if wishes.shares is not None:
        arguments += ["--shares", json.dumps(wishes.shares)]
    with log.open("ab") as output:
        seen = output.tell()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "somagent.deploy.local.daemon", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while True:
        code = daemon.poll()
        if code == LOCK_HELD:
            return wait_until_ready(layout)
        state = read_state(layout)
        if code is not None:
            raise SomaError(Code.PART_FAILED, _reason(state, daemon.pid, log))
        seen = _pass_on(log, seen, report)
        if state is not None and state.phase is Phase.READY and _supervisor_pid(state) == daemon.pid:
            return state
        time.sleep(_POLL_SECONDS)


def wait_until_ready(layout: Layout) -> StackState:
    """Waits for a stack that another ``up`` is starting.

    Raises:
        SomaError: ``part_failed`` when it ends, or is not ready in time.
    """
    deadline = time.monotonic() + _READY_PATIENCE_SECONDS
    while time.monotonic() < deadline and is_running(layout):
        state = read_state(layout)
        if state is not None and state.phase is Phase.READY:
            return state
        time.sleep(_POLL_SECONDS)
    log = layout.log_of(SUPERVISOR)
    raise SomaError(
        Code.PART_FAILED, f"The stack in {layout.root} did not become ready. The supervisor's log is {log}."
    )


def _supervisor_pid(state: StackState) -> int | None:
    supervisor = state.part(SUPERVISOR)
    return supervisor.pid if supervisor is not None else None


def _reason(state: StackState | None, pid: int, log: Path) -> str:
    if state is not None and state.phase is Phase.FAILED and _supervisor_pid(state) == pid:
        return state.message
    return "The supervisor ended: " + ("\n".join(last_lines(log, 3)) or f"see {log}")


def _pass_on(log: Path, seen: int, report: Callable[[str], None]) -> int:
    """Reports the log's new whole lines, without their times; returns how far it has read."""
    with log.open("rb") as file:
        file.seek(seen)
        new = file.read()
    whole = new[: new.rfind(b"\n") + 1]
    for line in whole.decode("utf-8", errors="replace").splitlines():
        report(line.partition(" ")[2])
    return seen + len(whole)


def _log_line(text: str) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for line in text.splitlines():
        sys.stdout.write(f"{now} {line}\n")
    sys.stdout.flush()


def main() -> int:
    """The detached supervisor's entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--shares", type=json.loads)
    given = parser.parse_args()
    wishes = Wishes(port=given.port, shares=given.shares)
    try:
        mine = run_here(Layout.of(given.data_dir), wishes, _log_line, lambda _: _log_line("ready"))
    except SomaError as error:
        _log_line(error.detail)
        return 1
    return 0 if mine else LOCK_HELD


if __name__ == "__main__":
    sys.exit(main())

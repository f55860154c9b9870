"""The supervisor: starts the parts in order, watches them, ends them in order.

One thread and a loop, since processes are forked here (see :mod:`somagent.deploy.local.processes`).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from somagent.deploy.local import forks, temporal
from somagent.deploy.local.files import check_disk
from somagent.deploy.local.forks import Preloader
from somagent.deploy.local.layout import Layout
from somagent.deploy.local.leftovers import stop_leftovers
from somagent.deploy.local.part import Part
from somagent.deploy.local.plan import SERVERS, Plan, Wishes, make_plan
from somagent.deploy.local.processes import Launch, Process, last_lines, rotate, start, start_time
from somagent.deploy.local.state import SUPERVISOR, PartState, Phase, StackState, write_state
from somagent.deploy.local.watched import START_LIMIT, Starter, Watched
from somagent.domain.errors import Code, SomaError

_LOOK_SECONDS = 0.1
_LOG_CHECK_SECONDS = 30.0
_PREPARATION = "preparation"


class _EndWanted(Exception):
    """A signal asked the supervisor to end."""


class Supervisor:
    """One stack from start to end; the caller holds its lock. ``report`` is told each step, in words for people."""

    def __init__(self, layout: Layout, wishes: Wishes, report: Callable[[str], None]) -> None:
        self._layout = layout
        self._wishes = wishes
        self._report = report
        self._plan: Plan | None = None
        self._parts: list[Watched] = []
        self._preloader: Preloader | None = None
        self._end_wanted = False

    def run(self, on_ready: Callable[[StackState], None]) -> None:
        """Runs the stack until a signal ends it.

        Raises:
            SomaError: a part failed for good; everything is stopped then, and the state file says why.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note_signal)
        try:
            self._bring_up()
            on_ready(self._write(Phase.READY))
            self._watch()
        except _EndWanted:
            self._write(Phase.STOPPING)
            self._take_down()
            self._layout.state_file.unlink(missing_ok=True)
        except SomaError as error:
            self._give_up(error.detail)
            raise
        except OSError as error:
            self._give_up(str(error))
            raise SomaError(Code.PART_FAILED, str(error)) from error

    def _note_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._end_wanted = True

    def _pause(self) -> None:
        if self._end_wanted:
            raise _EndWanted
        time.sleep(_LOOK_SECONDS)

    def _bring_up(self) -> None:
        check_disk(self._layout.root)
        stop_leftovers(self._layout, self._report)
        self._write(Phase.STARTING)
        self._plan = plan = make_plan(self._layout, self._wishes)
        for given in plan.given_parts():
            self._report(f"{given.name}: using {given.url} from the environment")
        if forks.usable():
            self._preloader = Preloader(plan.environment, self._layout.log_of(forks.NAME))
            self._preloader.start()  # it imports while the servers start
        self._start(plan.servers(), start)
        self._prepare(plan)
        self._start(plan.own_processes(), self._start_own)

    def _start_own(self, launch: Launch, log: Path) -> Process:
        """Starts a process of SomaGent's own: a fork of the preloader, where the system lets us watch one."""
        if self._preloader is None:
            return start(launch, log)
        title = " ".join(["somagent", *launch.somagent])
        return self._preloader.fork(launch.somagent, launch.environment, log, title)

    def _start(self, parts: list[Part], starter: Starter) -> None:
        """Starts these parts together and waits until each answers."""
        begun = time.monotonic()
        waiting = [Watched(part, self._layout.log_of(part.name), starter) for part in parts]
        for watched in waiting:
            self._parts.append(watched)
            watched.start()
        self._write(Phase.STARTING)
        while waiting:
            for watched in list(waiting):
                self._revive(watched, START_LIMIT)
                fault = watched.fault()
                if not fault:
                    waiting.remove(watched)
                    self._report(f"{watched.part.name}: answers at {watched.part.url}")
                elif time.monotonic() - begun > watched.part.start_seconds:
                    raise watched.failure(f"did not answer within {watched.part.start_seconds:.0f} s: {fault}")
            self._pause()

    def _prepare(self, plan: Plan) -> None:
        """Runs the preparation (schema, keys, search attributes) to its end."""
        self._report("preparing: database schema, keys, search attributes")
        log = self._layout.log_of(_PREPARATION)
        command = [sys.executable, "-m", "somagent.deploy.local.prepare"]
        process = self._start_own(Launch(argv=command, environment=plan.preparation_environment()), log)
        try:
            while process.poll() is None:
                self._pause()
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            reason = "\n".join(last_lines(log, 1))
            raise SomaError(Code.PART_FAILED, f"The preparation failed: {reason}\nIts log is {log}.")

    def _watch(self) -> NoReturn:
        next_log_check = 0.0
        while True:
            self._pause()
            for watched in self._parts:
                self._revive(watched)
            if time.monotonic() > next_log_check:
                next_log_check = time.monotonic() + _LOG_CHECK_SECONDS
                for log in self._layout.logs.glob("*.log"):
                    rotate(log)

    def _revive(self, watched: Watched, limit: int | None = None) -> None:
        if not (watched.revive() if limit is None else watched.revive(limit)):
            return
        self._report(f"{watched.part.name}: {'started again' if watched.running else 'died'}")
        self._write(Phase.READY if limit is None else Phase.STARTING)

    def _give_up(self, reason: str) -> None:
        self._take_down()
        self._parts = []
        with suppress(SomaError, OSError):  # the reason may be a full disk
            self._write(Phase.FAILED, reason)

    def _take_down(self) -> None:
        """Ends SomaGent's own processes together, then each server in turn, those that others lean on last."""
        _end([watched for watched in self._parts if watched.part.name not in SERVERS])
        if self._preloader is not None:
            self._preloader.stop()
        for watched in reversed(self._parts):
            _end([watched])

    def _write(self, phase: Phase, message: str = "") -> StackState:
        own = [_process_of_ours(SUPERVISOR, os.getpid())]
        if self._preloader is not None and self._preloader.pid is not None:
            own.append(_process_of_ours(forks.NAME, self._preloader.pid))
        running = [watched.state() for watched in self._parts]
        plan = self._plan
        state = StackState(
            phase=phase,
            message=message,
            parts=[*own, *(plan.given_parts() if plan else []), *_with_ui(running, plan)],
            environment=plan.environment if plan else {},
            postgres_owner_url=plan.addresses.postgres_owner if plan else "",
        )
        write_state(self._layout, state)
        return state


def _process_of_ours(name: str, pid: int) -> PartState:
    return PartState(name=name, url="", pid=pid, started=start_time(pid))


def _with_ui(parts: list[PartState], plan: Plan | None) -> list[PartState]:
    """Adds the web UI as a row of its own after Temporal, whose process serves it."""
    if plan is None or not plan.addresses.temporal_ui:
        return parts
    url = plan.addresses.temporal_ui
    rows: list[PartState] = []
    for part in parts:
        rows.append(part)
        if part.name == temporal.NAME:
            rows.append(part.model_copy(update={"name": temporal.UI, "url": url}))
    return rows


def _end(parts: list[Watched]) -> None:
    """Asks these parts to end, waits as long as each may take, then kills."""
    begun = time.monotonic()
    for watched in parts:
        watched.ask_to_end()
    while any(watched.running for watched in parts):
        for watched in parts:
            if watched.running and time.monotonic() - begun > watched.part.stop_seconds:
                watched.kill()
        time.sleep(_LOOK_SECONDS / 2)
    for watched in parts:
        watched.kill()

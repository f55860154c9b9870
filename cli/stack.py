"""``somagent up``, ``down``, ``status`` and ``logs``: the local stack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import Field

from somagent.cli.output import OutputFormat, complain, say, show_json, show_table
from somagent.deploy.local import follow, shutdown
from somagent.deploy.local.administrator import show_password_once
from somagent.deploy.local.daemon import run_detached, run_here, wait_until_ready
from somagent.deploy.local.files import disk_full
from somagent.deploy.local.layout import Layout, default_data_dir
from somagent.deploy.local.options import parse_shares
from somagent.deploy.local.plan import Wishes
from somagent.deploy.local.state import StackState, is_running, running_state
from somagent.deploy.local.status import PartStatus, look
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model

DataDir = Annotated[Path | None, Parameter(name="--data-dir", help="Where the stack keeps everything.")]


class StatusDocument(Model):
    """What ``status --output json`` prints."""

    parts: list[PartStatus] = Field(default_factory=list)


def up(
    *,
    data_dir: DataDir = None,
    port: Annotated[
        int | None,
        Parameter(env_var="SOMAGENT_PORT", help="The API's port (8080, or the last one of this data dir)."),
    ] = None,
    detach: Annotated[bool, Parameter(negative=(), help="Return when everything answers.")] = False,
    share: Annotated[
        list[str] | None,
        Parameter(negative=(), help="NAME=FOLDER: jobs may read the folder under shared/NAME/. Repeatable."),
    ] = None,
) -> int:
    """Start Postgres, Redis, Temporal, the API and the workers, and wait until each answers."""
    if port is not None and not 1 <= port <= 65535:
        raise SomaError(Code.INPUT_INVALID, f"--port {port}: ports are numbers from 1 to 65535.")
    layout = _layout(data_dir)
    wishes = Wishes(port=port, shares=None if share is None else parse_shares(share))
    _make_folders(layout)
    if is_running(layout):
        if port is not None or share is not None:
            say("The running stack keeps its port and shares; run `somagent down` first to change them.")
        return _already_running(layout)
    if detach:
        _show_addresses("SomaGent is up", layout, run_detached(layout, wishes, say))
        return 0
    ran = run_here(layout, wishes, say, lambda state: _show_foreground(layout, state))
    return 0 if ran else _already_running(layout)


def down(*, data_dir: DataDir = None) -> int:
    """Stop everything in order; what runs in Temporal goes on at the next `up`."""
    layout = _layout(data_dir)
    ended = shutdown.shut_down(layout, say)
    say("SomaGent is down." if ended else f"Nothing is running in {layout.root}.")
    return 0


def status(*, data_dir: DataDir = None, output: OutputFormat = "table") -> int:
    """Show every process of the stack and whether it answers."""
    layout = _layout(data_dir)
    try:
        parts = look(running_state(layout))
    except SomaError as error:
        if output == "json":
            show_json(StatusDocument())
        raise error
    if output == "json":
        show_json(StatusDocument(parts=parts))
    else:
        rows = [[part.name, str(part.pid or "-"), part.url, "yes" if part.healthy else "NO"] for part in parts]
        show_table(f"Stack in {layout.root}", ["part", "pid", "address", "healthy"], rows)
    return 0 if all(part.healthy for part in parts) else 1


def logs(name: str | None = None, /, *, data_dir: DataDir = None, follow_: Annotated[
    bool, Parameter(name="--follow", negative=(), help="Go on as lines are written, until Ctrl-C.")
] = False) -> int:  # fmt: skip
    """Show the last lines of one part's log, or of all."""
    layout = _layout(data_dir)
    known = follow.log_names(layout)
    if not known:
        raise SomaError(Code.STACK_NOT_RUNNING, f"There are no logs in {layout.logs}: no stack has run there.")
    if name is not None and name not in known:
        complain(f"There is no log of {name}. There are: {', '.join(known)}.")
        return 2
    follow.show_logs(layout, [name] if name is not None else known, say, go_on=follow_)
    return 0


def _layout(data_dir: Path | None) -> Layout:
    return Layout.of(data_dir if data_dir is not None else default_data_dir())


def _make_folders(layout: Layout) -> None:
    try:
        layout.make()
    except OSError as error:
        if error.errno == 28:
            raise disk_full(layout.root) from error
        raise SomaError(Code.PART_FAILED, f"{layout.root} cannot be used as data directory: {error}") from error


def _already_running(layout: Layout) -> int:
    _show_addresses("SomaGent is already running", layout, wait_until_ready(layout))
    return 0


def _show_foreground(layout: Layout, state: StackState) -> None:
    _show_addresses("SomaGent is up; Ctrl-C ends it", layout, state)


def _show_addresses(title: str, layout: Layout, state: StackState) -> None:
    rows: list[list[str]] = []
    api = state.part("api")
    if api is not None:
        rows += [["API", api.url], ["API reference", f"{api.url}/docs"]]
    titles = {"temporal-ui": "Temporal UI", "temporal": "Temporal", "postgres": "Postgres", "redis": "Redis"}
    rows += [[title_of, part.url] for name, title_of in titles.items() if (part := state.part(name)) is not None]
    rows += [["Data", str(layout.root)], ["Logs", str(layout.logs)]]
    show_table(title, ["what", "where"], rows)
    show_password_once(layout, say)

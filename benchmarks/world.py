"""The stack under measurement and, beside it on the same servers, the bare workers and the bare API."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from somagent.benchmarks.capsules import light_capsule
from somagent.client import SomaGent

LIGHT = (3, 40)
TENANT = "bench"


@dataclass(frozen=True, slots=True)
class World:
    """Addresses of both sides, and the processes to weigh. ``environment``: that of SomaGent's own processes."""

    api: str
    token: str
    bare_api: str
    temporal: str
    pids: dict[str, int]
    environment: Mapping[str, str]


@contextmanager
def world() -> Iterator[World]:
    """Both sides, started; ended, with every file of theirs, afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="somagent-bench-"))
    children: list[subprocess.Popen[bytes]] = []
    try:
        port, bare_port = _free_port(), _free_port()
        _somagent("up", "--detach", "--data-dir", str(folder), "--port", str(port))
        parts = {part["name"]: part for part in _status(folder)}
        temporal = str(parts["temporal"]["url"])
        roles = ("workflows", "activities")
        children.extend(_spawn("-m", "somagent.benchmarks.bare_worker", temporal, role) for role in roles)
        stack = orjson.loads((folder / "run" / "stack.json").read_bytes())["environment"]
        bare = {"BARE_POSTGRES_URL": _postgres(folder), "BARE_REDIS_URL": stack["REDIS_URL"]}
        children.append(
            _spawn(
                "-m", "uvicorn", "somagent.benchmarks.bare_api:app", "--port", str(bare_port), "--loop", "uvloop",
                "--http", "httptools", "--no-access-log", "--log-level", "error", environment={**os.environ, **bare},
            )
        )  # fmt: skip
        _answers(bare_port)
        author, reviewer = (_token(folder, user) for user in ("author", "reviewer"))
        _publish(str(parts["api"]["url"]), author, reviewer)
        pids = {name: int(part["pid"]) for name, part in parts.items() if part["pid"]}
        pids |= {
            name: child.pid
            for name, child in zip(("bare workflows", "bare activities", "bare api"), children, strict=True)
        }
        api, bare_url = str(parts["api"]["url"]), f"http://127.0.0.1:{bare_port}"
        yield World(api, author, bare_url, temporal, pids, {**os.environ, **stack})
    finally:
        for child in children:
            child.send_signal(signal.SIGTERM)
        for child in children:
            child.wait(timeout=30)
        _somagent("down", "--data-dir", str(folder))
        shutil.rmtree(folder, ignore_errors=True)


def _publish(api: str, author_token: str, reviewer_token: str) -> None:
    with SomaGent(api, author_token) as author, SomaGent(api, reviewer_token) as reviewer:
        for steps in LIGHT:
            definition = light_capsule(steps)
            submission = author.submit_capsule(definition, owner="bench")
            reviewer.review(submission["id"], "approve")
            installation = author.install(definition["id"])
            if installation["status"] != "installed":
                raise RuntimeError(f"{definition['id']} was not installed: {installation}")


def _spawn(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, env=environment)
    if "uvicorn" not in arguments:
        assert child.stdout is not None
        child.stdout.readline()
    return child


def _answers(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("The bare API does not answer.")


def _postgres(folder: Path) -> str:
    """The owner's address, so that both sides write to the same server."""
    parts = orjson.loads((folder / "run" / "stack.json").read_bytes())["parts"]
    return next(str(part["probe"]) for part in parts if part["name"] == "postgres")


def _status(folder: Path) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = orjson.loads(_somagent("status", "--data-dir", str(folder), "--output", "json"))[
        "parts"
    ]
    return parts


def _token(folder: Path, user: str) -> str:
    issued = _somagent("tokens", "issue", "--data-dir", str(folder), "--tenant", TENANT, "--user", user)
    return issued.strip().splitlines()[-1]


def _somagent(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "somagent.cli.app", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"somagent {arguments[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

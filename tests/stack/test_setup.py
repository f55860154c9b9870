"""Set-up is quick and silent when everything is there, and says what it found when asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in the project's folder."""
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False
    )


def test_servers_are_found_with_their_versions() -> None:
    done = run(sys.executable, "-m", "somagent.deploy.local.setup")
    assert done.returncode == 0
    for part in ("Temporal: ", "Redis: ", "Postgres: "):
        assert part in done.stdout


def test_nothing_is_said_when_nothing_is_to_do() -> None:
    done = run(sys.executable, "-m", "somagent.deploy.local.setup", "--quiet", "--for-tests")
    assert (done.returncode, done.stdout) == (0, "")


def test_the_package_list_is_the_tree() -> None:
    done = run(sys.executable, "-m", "somagent.deploy.local.packaging")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("target", ["setup", "demo", "up", "down", "test", "bench", "lint", "deploy-check", "chaos"])
def test_make_explains_its_targets(target: str) -> None:
    assert f"make {target} " in run("make").stdout

"""The wheel as the image gets it: built from a copy of the tree, installed into an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
_UV = Path(sys.executable).parent / "uv"
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "node_modules", "tests", "docs")


@dataclass(frozen=True, slots=True)
class Installed:
    """A fresh environment with the wheel and what it needs, and nothing for developers."""

    folder: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a program of the environment's, in an empty folder and without our own environment's paths."""
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return subprocess.run(
            [self.folder / "bin" / command[0], *command[1:]],
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip


def _uv(*arguments: str | Path, folder: Path, **environment: str) -> None:
    done = subprocess.run(
        [_UV, *arguments],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel; built from a copy, since a build leaves folders behind."""
    copy = tmp_path_factory.mktemp("tree") / "somagent"
    shutil.copytree(ROOT, copy, ignore=_LEFT_OUT, symlinks=True)
    out = tmp_path_factory.mktemp("dist")
    _uv("build", "--quiet", "--wheel", "--out-dir", out, ".", folder=copy)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel installed by the Dockerfile's own commands."""
    folder = tmp_path_factory.mktemp("image") / "venv"
    _uv("venv", "--quiet", "--python", sys.executable, folder, folder=ROOT)
    from_lock = ("--constraints", "requirements.lock", "--overrides", "deploy/docker/overrides.txt")
    install = ("pip", "install", "--quiet")
    _uv(
        *install,
        "--requirements",
        "pyproject.toml",
        "--extra",
        "kafka",
        *from_lock,
        folder=ROOT,
        VIRTUAL_ENV=str(folder),
    )
    _uv(*install, "--no-deps", wheel, folder=ROOT, VIRTUAL_ENV=str(folder))
    return Installed(folder)

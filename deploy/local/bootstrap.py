"""Makes the virtual environment and fills it from the lock. Run by ``make setup`` with the system's own Python.

Standard library only, and no import of ``somagent``: nothing is installed yet.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
MINIMUM = (3, 11)
_NEWER = ("python3.13", "python3.12", "python3.11", "python3.14")
_LOCK_STAMP = VENV / ".somagent-lock"
_PROJECT_STAMP = VENV / ".somagent-project"


def main() -> int:
    """Brings ``.venv`` to what the lock says; quick when it is so already."""
    lock, project = _fingerprint("requirements.lock"), _fingerprint("pyproject.toml")
    try:
        if not _stamped(_LOCK_STAMP, lock):
            _make_venv()
            _install_locked()
            _install_project("--compile-bytecode")  # once, instead of in each process of the first start
        elif not _stamped(_PROJECT_STAMP, project):
            _install_project()
    except (subprocess.CalledProcessError, OSError) as error:
        _say(f"Set-up failed: {error}")
        return 1
    _LOCK_STAMP.write_text(lock)
    _PROJECT_STAMP.write_text(project)
    return 0


def _fingerprint(source: str) -> str:
    """Changes with the file's content, and when the clone is moved."""
    return hashlib.sha256(str(ROOT).encode() + (ROOT / source).read_bytes()).hexdigest()


def _stamped(stamp: Path, wanted: str) -> bool:
    return _python().exists() and stamp.exists() and stamp.read_text() == wanted


def _python() -> Path:
    return VENV / "bin" / "python"


def _make_venv() -> None:
    if _python().exists() and (VENV / "bin" / "pip").exists():
        return
    base = _suitable_python()
    _say(f"Making .venv with {base} (5 s)")
    if _runs(base, "-m", "venv", "--clear", str(VENV)):
        return
    _say("This Python cannot make virtual environments by itself (Debian keeps that in python3-venv).")
    if _debian_as_root():
        _say("Installing python3-venv (20 s)")
        _runs("apt-get", "update", "-q")
        _runs("apt-get", "install", "-y", "-q", "--no-install-recommends", "python3-venv")
        if _runs(base, "-m", "venv", "--clear", str(VENV)):
            return
    for tool, arguments in (("uv", ["venv", "--clear", "--seed"]), ("virtualenv", ["--clear"])):
        if shutil.which(tool) and _runs(tool, *arguments, "--python", base, str(VENV)):
            return
    raise OSError("no way to make a virtual environment. Install python3-venv (or uv), then run `make setup` again.")


def _suitable_python() -> str:
    """This Python when it is new enough, else a newer one on PATH."""
    if sys.version_info >= MINIMUM:
        return sys.executable
    for name in _NEWER:
        if found := shutil.which(name):
            return found
    raise OSError(
        f"Python {platform.python_version()} is too old: SomaGent needs {MINIMUM[0]}.{MINIMUM[1]} or newer. "
        "Install it (Debian 12: apt install python3), then run `make setup` again."
    )


def _debian_as_root() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install_locked() -> None:
    begun = time.monotonic()
    _say("Installing the locked packages into .venv (20 to 60 s)")
    _check(str(_python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv")
    _uv("sync", "requirements.lock")
    _say(f"Packages are in place ({time.monotonic() - begun:.0f} s)")


def _install_project(*options: str) -> None:
    _uv("install", *options, "--no-deps", "--editable", ".")


def _uv(command: str, *arguments: str) -> None:
    _check(str(VENV / "bin" / "uv"), "pip", command, "--quiet", "--python", str(_python()), *arguments)


def _check(*command: str) -> None:
    subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=True)


def _runs(*command: str) -> bool:
    try:
        return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def _say(text: str) -> None:
    sys.stdout.write(f"[setup] {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

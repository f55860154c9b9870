"""Small files that must never be seen half written, nor by others."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from somagent.domain.errors import Code, SomaError

MINIMUM_FREE_BYTES = 500 * 1024 * 1024
"""Below this, databases may fail in the middle of a write; the stack does not start."""


def write_private(path: Path, text: str) -> None:
    """Replaces the file at once, mode 0600.

    Raises:
        SomaError: ``disk_full`` when the disk has no room.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(path) from error
        raise


def disk_full(path: Path) -> SomaError:
    """The error that says where room is missing."""
    return SomaError(
        Code.DISK_FULL, f"The disk of {path} is full. Free some space there, then run `somagent up` again."
    )


def free_bytes(path: Path) -> int:
    """Free bytes for this user on the disk that holds the path, or its nearest existing ancestor."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def check_disk(path: Path) -> None:
    """Refuses to go on with too little room.

    Raises:
        SomaError: ``disk_full`` below :data:`MINIMUM_FREE_BYTES`.
    """
    free = free_bytes(path)
    if free < MINIMUM_FREE_BYTES:
        raise SomaError(
            Code.DISK_FULL,
            f"The disk of {path} has {free // 2**20} MB left, the stack needs {MINIMUM_FREE_BYTES // 2**20} MB. "
            "Free some space, or choose another folder with --data-dir.",
        )

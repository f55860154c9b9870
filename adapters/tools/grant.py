"""What a sandboxed program is given, and how the job's folder is made ready for it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.workspace import ATTACHMENTS, SHARED, opened_folder

NOBODY = 65534
MAX_OUTPUT_BYTES = 1024 * 1024
GIT_CONFIG = "[safe]\n\tdirectory = *\n"
"""The machine-wide configuration that git finds: folders belong to other users, and nothing outside is in reach."""

_STICKY = 0o1777


@dataclass(frozen=True, slots=True)
class Grant:
    """What one run gets beyond the sandbox itself.

    Attributes:
        env: variables added to PATH, HOME, LANG and TMPDIR; nothing of our own environment is ever in it.
        folder: the working folder, below the job's.
        network: whether it may use the network; only for programs and addresses that were checked before.
        trusted: whether it is a program of our choice with arguments of our making, which may change files' modes also
            where Landlock could not tell whose files these are.
    """

    stdin: bytes = b""
    max_output_bytes: int = MAX_OUTPUT_BYTES
    env: Mapping[str, str] = field(default_factory=dict)
    folder: str = "."
    network: bool = False
    trusted: bool = False


def prepare_workspace(context: ToolContext, owner: int | None, *, with_mounts: bool = True) -> None:
    """Make the places where shared folders are mounted and, as root, give everything else to ``owner``.

    As root the job's folder stays ours and sticky: the program can make, change and remove its own files there, but
    cannot swap a mount's place for a link between two runs.

    Raises:
        SomaError: PATH_OUTSIDE_WORKSPACE where a program put a link in the place of a mount.
    """
    mounts: list[tuple[str, ...]] = [(SHARED, name) for name in sorted(context.shares)]
    mounts += [(ATTACHMENTS,)] if context.attachments is not None else []
    with opened_folder(context.workspace, (), ".") as folder:
        if owner is not None:
            os.fchown(folder, os.geteuid(), os.getegid())
            os.fchmod(folder, _STICKY)
        for parts in mounts if with_mounts else ():
            for depth in range(1, len(parts) + 1):
                _make_mount(context, parts[:depth], owned=owner is not None)
        if owner is not None:
            _give(folder, owner, except_names=frozenset(parts[0] for parts in mounts))
            if context.attachments is not None:
                _open_to_all(context.attachments)


def _open_to_all(attachments: Path) -> None:
    """Let every user read the attachments, which are ours and lie in a folder that is not open to every user."""
    for _, folders, files, folder in os.fwalk(attachments, follow_symlinks=False):
        os.fchmod(folder, 0o755)
        for name in (*folders, *files):
            found = os.lstat(name, dir_fd=folder)
            if stat.S_ISREG(found.st_mode) and not found.st_mode & stat.S_IROTH:
                os.chmod(name, 0o644, dir_fd=folder)


def _make_mount(context: ToolContext, parts: tuple[str, ...], *, owned: bool) -> None:
    with opened_folder(context.workspace, parts, "/".join(parts), create=True) as folder:
        if owned:
            os.fchown(folder, os.geteuid(), os.getegid())
            os.fchmod(folder, 0o755)


def _give(folder: int, owner: int, except_names: frozenset[str]) -> None:
    for name in os.listdir(folder):
        if name in except_names:
            continue
        try:
            found = os.lstat(name, dir_fd=folder)
            if found.st_uid != owner:
                os.chown(name, owner, owner, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                _give_below(folder, name, owner)
        except (FileNotFoundError, NotADirectoryError):
            continue  # another step of the job removed it meanwhile


def _give_below(folder: int, name: str, owner: int) -> None:
    below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        _give(below, owner, frozenset())
    finally:
        os.close(below)

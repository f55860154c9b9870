"""Confinement by bubblewrap: namespaces of its own for files, processes, network, and no privileges.

As root, the program becomes the real user 65534 (bubblewrap alone would leave it the kernel's root, whose count of
processes is never limited). Otherwise a user namespace shows it as 65534. Either way it sees ``/usr``, a few files of
``/etc``, and the job's folder as ``/workspace``.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from somagent.adapters.tools import limits
from somagent.adapters.tools.grant import GIT_CONFIG, NOBODY, Grant, prepare_workspace
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.process import Launch

BWRAP_NAMES = ("/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap")
HOME = "/workspace"

_SYSTEM_FOLDERS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "magic", "fonts", "perl")
_ETC_WITH_NETWORK = ("ssl", "ca-certificates", "pki")
_ETC_MADE = {
    "passwd": "nobody:x:65534:65534:agent:/workspace:/bin/sh\n",
    "group": "nogroup:x:65534:\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
    "gitconfig": GIT_CONFIG,
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
}
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": HOME, "LANG": "C.UTF-8", "TMPDIR": "/tmp"}  # noqa: S108


class Bubblewrap:
    """Builds the command lines.

    Args:
        bwrap: the program's path.
        as_root: whether we are root and the program is to become user 65534.
        own_process_count: with ``as_root``: whether each run gets a user namespace, and so its own count of processes.
    """

    def __init__(self, bwrap: str, *, as_root: bool, own_process_count: bool) -> None:
        self._bwrap = bwrap
        self._as_root = as_root
        self._own_process_count = own_process_count

    def __str__(self) -> str:
        return "bubblewrap"

    @contextmanager
    def prepared(self, context: ToolContext, command: Sequence[str], grant: Grant) -> Iterator[Launch]:
        """How to run ``command`` in the job's folder, which is made ready for it."""
        prepare_workspace(context, owner=NOBODY if self._as_root else None)
        made = {name: _readable(text) for name, text in _ETC_MADE.items()}
        yield Launch(
            argv=[
                self._bwrap,
                *self._namespaces(grant),
                *_system(grant),
                *_made(made),
                *_folders(context, grant),
                *_environment(grant),
                "--",
                *self._privileges(),
                *_limits(),
                *command,
            ],
            stdin=grant.stdin,
            timeout_seconds=context.timeout_seconds,
            max_output_bytes=grant.max_output_bytes,
            pass_fds=list(made.values()),
        )

    def _namespaces(self, grant: Grant) -> Iterator[str]:
        yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
        if not grant.network:
            yield "--unshare-net"
        yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL")
        if self._as_root:
            for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
                yield from ("--cap-add", capability)
        else:
            yield from ("--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY))

    def _privileges(self) -> Iterator[str]:
        """Programs within the sandbox that give up the last rights and then become the next one."""
        if not self._as_root:
            return
        yield from ("/usr/bin/setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        yield from ("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--")
        if self._own_process_count:
            yield from ("/usr/bin/unshare", "--user", "--map-current-user", "--")


def _limits() -> Iterator[str]:
    yield "/usr/bin/prlimit"
    yield f"--as={limits.ADDRESS_SPACE_BYTES}"
    yield f"--fsize={limits.FILE_BYTES}"
    yield f"--nofile={limits.OPEN_FILES}"
    yield f"--nproc={limits.PROCESSES}"
    yield from ("--core=0", "--")


def _system(grant: Grant) -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _SYSTEM_FOLDERS:
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", str(path.readlink()), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    yield from ("--perms", "0755", "--dir", "/etc")
    for name in (*_ETC, *(_ETC_WITH_NETWORK if grant.network else ())):
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    yield from ("--proc", "/proc", "--dev", "/dev")
    for folder in ("/tmp", "/dev/shm"):  # noqa: S108 - a fresh one in memory
        yield from ("--perms", "1777", "--size", str(limits.TEMPORARY_BYTES), "--tmpfs", folder)


def _made(files: dict[str, BinaryIO]) -> Iterator[str]:
    for name, file in files.items():
        yield from ("--perms", "0444", "--ro-bind-data", str(file.fileno()), f"/etc/{name}")


def _folders(context: ToolContext, grant: Grant) -> Iterator[str]:
    yield from ("--bind", str(context.workspace), HOME)
    for name, folder in sorted(context.shares.items()):
        yield from ("--ro-bind-try", str(folder), f"{HOME}/shared/{name}")
    if context.attachments is not None:
        yield from ("--ro-bind-try", str(context.attachments), f"{HOME}/attachments")
    yield from ("--chdir", str(Path(HOME, grant.folder)))


def _environment(grant: Grant) -> Iterator[str]:
    yield "--clearenv"
    for name, value in {**_ENVIRONMENT, **grant.env}.items():
        yield from ("--setenv", name, value)


def _readable(text: str) -> BinaryIO:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by whoever starts the program
    file.write(text.encode())
    file.flush()
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return file

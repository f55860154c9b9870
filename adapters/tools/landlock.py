"""Confinement by Landlock and seccomp, where bubblewrap cannot run.

The program keeps the machine's own paths, so that its folder is the job's folder itself, and shared folders stand in
it as links. As root it becomes user 65534, who must be able to reach these folders (search permission on every folder
above them); otherwise it keeps our user, and may change neither modes nor owners by path, since Landlock does not see
to these.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from somagent.adapters.tools import confine, limits
from somagent.adapters.tools.grant import GIT_CONFIG, NOBODY, Grant, prepare_workspace
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.process import Launch
from somagent.adapters.tools.workspace import ATTACHMENTS, SHARED, opened_folder
from somagent.domain.errors import Code, SomaError

HELPER = (sys.executable, "-I", "-S", confine.__file__)

_READABLE = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"),
    *(f"/etc/{name}" for name in ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "perl")),
)
_READABLE_WITH_NETWORK = ("/etc/ssl", "/etc/ca-certificates", "/etc/pki")
_WRITABLE = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class Landlock:
    """Builds the orders for :mod:`somagent.adapters.tools.confine`.

    Args:
        as_root: whether we are root and the program is to become user 65534.
    """

    def __init__(self, *, as_root: bool) -> None:
        self._user = NOBODY if as_root else None

    def __str__(self) -> str:
        return "Landlock"

    @contextmanager
    def prepared(self, context: ToolContext, command: Sequence[str], grant: Grant) -> Iterator[Launch]:
        """How to run ``command`` in the job's folder, which is made ready for it."""
        if self._user is not None:
            for folder in (context.workspace, *context.shares.values(), context.attachments):
                _check_reach(folder)
        prepare_workspace(context, self._user, with_mounts=False)
        _link_shared_folders(context)
        with tempfile.TemporaryDirectory(prefix="somagent-", ignore_cleanup_errors=True) as temporary:
            if self._user is not None:
                os.chown(temporary, self._user, self._user)
            git_config = Path(temporary, "gitconfig")
            git_config.write_text(GIT_CONFIG)
            yield Launch(
                argv=[*HELPER, json.dumps(self._order(context, command, grant, temporary))],
                stdin=grant.stdin,
                timeout_seconds=context.timeout_seconds,
                max_output_bytes=grant.max_output_bytes,
                env={
                    "PATH": "/usr/local/bin:/usr/bin:/bin",
                    "HOME": str(context.workspace),
                    "LANG": "C.UTF-8",
                    "TMPDIR": temporary,
                    "GIT_CONFIG_SYSTEM": str(git_config),
                    **grant.env,
                },
                stop_signal=signal.SIGTERM,
            )

    def _order(self, context: ToolContext, command: Sequence[str], grant: Grant, temporary: str) -> dict[str, object]:
        readable = [*_READABLE, *(_READABLE_WITH_NETWORK if grant.network else ()), *map(str, context.shares.values())]
        if context.attachments is not None:
            readable.append(str(context.attachments))
        return {
            "command": list(command),
            "folder": str(context.workspace / grant.folder),
            "writable": [*_WRITABLE, str(context.workspace), temporary],
            "readable": readable,
            "user": self._user,
            "network": grant.network,
            "metadata": grant.trusted or self._user is not None,
            "address_space": limits.ADDRESS_SPACE_BYTES,
            "file_size": limits.FILE_BYTES,
            "open_files": limits.OPEN_FILES,
            "processes": limits.PROCESSES,
        }


def _check_reach(folder: Path | None) -> None:
    for above in folder.resolve().parents if folder else ():
        if not above.stat().st_mode & stat.S_IXOTH:
            raise SomaError(
                Code.SANDBOX_UNAVAILABLE,
                f"Programs run as user {NOBODY}, who cannot get into {above.name!r}, which holds the job's folders. "
                "Install bubblewrap, or give others search permission on that folder (chmod o+x).",
            )


def _link_shared_folders(context: ToolContext) -> None:
    if context.shares:
        with opened_folder(context.workspace, (SHARED,), SHARED, create=True) as folder:
            for name, path in context.shares.items():
                _link(folder, name, path)
    if context.attachments is not None:
        with opened_folder(context.workspace, (), ".") as folder:
            _link(folder, ATTACHMENTS, context.attachments)


def _link(folder: int, name: str, target: Path) -> None:
    try:
        if os.readlink(name, dir_fd=folder) == str(target):
            return
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except OSError:
        os.rmdir(name, dir_fd=folder)  # the empty place of a mount, left by bubblewrap
    os.symlink(target, name, dir_fd=folder)

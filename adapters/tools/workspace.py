"""Where a step's paths may lead: the job's folder, ``shared/NAME/`` and ``attachments/`` (both read-only).

The rule is simple so that it holds against races too: a path is walked one component at a time from an open folder,
and no symbolic link is ever followed. A link planted between two looks is therefore met by the kernel, not by us.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from somagent.adapters.tools.port import ToolContext
from somagent.domain.errors import Code, SomaError

SHARED = "shared"
ATTACHMENTS = "attachments"

_NAME_BYTES = 255
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Place:
    """A path that is allowed by its text alone; the walk then sees to links.

    Attributes:
        root: the folder the walk begins in; given by the operator or by us, so links in it are fine.
        parts: names below ``root``, none of them ``.``, ``..`` or empty.
        prefix: what stands before ``parts`` in paths that a capsule uses: empty, ``shared/NAME`` or ``attachments``.
        writable: whether steps may change it.
    """

    root: Path
    parts: tuple[str, ...]
    prefix: str
    writable: bool

    @property
    def display(self) -> str:
        """The path as a capsule writes it, usable as-is in another step."""
        return "/".join((*([self.prefix] if self.prefix else []), *self.parts)) or "."


def locate(context: ToolContext, path: str) -> Place:
    """The place that ``path`` names.

    Raises:
        SomaError: PATH_OUTSIDE_WORKSPACE for what is absolute, goes up or names no folder of the job;
            PARAMS_INVALID for what no file system takes; FILE_NOT_FOUND where the job has no attachments.
    """
    parts = _split(path)
    match parts:
        case (first, *rest) if first == SHARED:
            return _shared(context, path, rest)
        case (first, *rest) if first == ATTACHMENTS:
            if context.attachments is None:
                raise SomaError(Code.FILE_NOT_FOUND, f"{path!r}: this job was started without attachments.")
            return Place(context.attachments, tuple(rest), ATTACHMENTS, writable=False)
        case _:
            return Place(context.workspace, parts, "", writable=True)


def locate_for_writing(context: ToolContext, path: str) -> Place:
    """The place that ``path`` names, where a step may write.

    Raises:
        SomaError: as :func:`locate`, and PATH_OUTSIDE_WORKSPACE under ``shared/`` and ``attachments/``.
    """
    if _split(path)[:1] in ((SHARED,), (ATTACHMENTS,)):
        raise SomaError(
            Code.PATH_OUTSIDE_WORKSPACE,
            f"{path!r} is read-only: steps write only in the job's own folder. Give a path outside "
            f"{SHARED}/ and {ATTACHMENTS}/.",
        )
    return locate(context, path)


@contextmanager
def opened_folder(root: Path, parts: tuple[str, ...], shown: str, *, create: bool = False) -> Iterator[int]:
    """An open descriptor of the folder ``root/parts``, reached without following any link below ``root``.

    Args:
        shown: the path to name in errors.
        create: whether missing folders are made.

    Raises:
        SomaError: FILE_NOT_FOUND, PATH_OUTSIDE_WORKSPACE (a link on the way).
    """
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SomaError(Code.FILE_NOT_FOUND, f"{shown!r}: the folder it begins in does not exist.") from None
    try:
        for part in parts:
            below = _step_into(folder, part, shown, create=create)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def real_path(place: Place, *, create: bool = False) -> Path:
    """The folder of ``place`` as an absolute path, after the walk found no link in it.

    For programs in the sandbox, which see nothing outside anyway; our own code opens by descriptor instead.

    Raises:
        SomaError: as :func:`opened_folder`.
    """
    with opened_folder(place.root, place.parts, place.display, create=create):
        return place.root.joinpath(*place.parts)


def link_refused(shown: str) -> SomaError:
    """The refusal of a path that a symbolic link is part of."""
    return SomaError(
        Code.PATH_OUTSIDE_WORKSPACE,
        f"{shown!r} goes through a symbolic link, and links are never followed because they can lead out of the job's "
        "folder. Name the file itself.",
    )


def _split(path: str) -> tuple[str, ...]:
    if not path:
        raise SomaError(Code.PARAMS_INVALID, "The path is empty; give one, or '.' for the job's folder.")
    if "\0" in path:
        raise SomaError(Code.PARAMS_INVALID, "The path holds a null character, which no file name can.")
    if path.startswith("/"):
        raise _outside(path, "it is absolute")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if ".." in parts:
        raise _outside(path, "it goes up by '..'")
    for part in parts:
        try:
            size = len(part.encode())
        except UnicodeEncodeError:
            raise SomaError(Code.PARAMS_INVALID, f"The path {path!a} is not valid Unicode.") from None
        if size > _NAME_BYTES:
            raise SomaError(Code.PARAMS_INVALID, f"A name in the path has {size} bytes; at most {_NAME_BYTES} fit.")
    return parts


def _outside(path: str, why: str) -> SomaError:
    return SomaError(
        Code.PATH_OUTSIDE_WORKSPACE,
        f"{path!r} leaves the job's folder: {why}. Use a path relative to the job's folder, "
        f"{SHARED}/NAME/ or {ATTACHMENTS}/.",
    )


def _shared(context: ToolContext, path: str, rest: list[str]) -> Place:
    known = ", ".join(f"{SHARED}/{name}" for name in sorted(context.shares)) or "none"
    if not rest or rest[0] not in context.shares:
        raise SomaError(
            Code.PATH_OUTSIDE_WORKSPACE,
            f"{path!r} is in no folder that the operator shares. Shared are: {known}.",
        )
    return Place(context.shares[rest[0]], tuple(rest[1:]), f"{SHARED}/{rest[0]}", writable=False)


def _step_into(folder: int, name: str, shown: str, *, create: bool) -> int:
    try:
        return os.open(name, _FOLDER_FLAGS, dir_fd=folder)
    except FileNotFoundError:
        if not create:
            raise SomaError(Code.FILE_NOT_FOUND, f"{shown!r} does not exist: there is no folder {name!r}.") from None
        _make_folder(folder, name)
        return _step_into(folder, name, shown, create=False)
    except OSError as error:
        raise translate(error, folder, name, shown) from error


def _make_folder(folder: int, name: str) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        return
    except OSError as error:
        raise translate(error, folder, name, name) from error


def translate(error: OSError, folder: int, name: str, shown: str) -> SomaError:
    """What an operating-system error on ``name`` in ``folder`` means to the caller."""
    match error.errno:
        case errno.ELOOP:
            return link_refused(shown)
        case errno.ENOTDIR:
            return link_refused(shown) if _is_link(folder, name) else _not_a_folder(shown, name)
        case errno.ENOENT:
            return SomaError(Code.FILE_NOT_FOUND, f"{shown!r} does not exist.")
        case errno.EISDIR:
            return SomaError(Code.FILE_NOT_FOUND, f"{shown!r} is a folder, not a file.")
        case errno.ENAMETOOLONG:
            return SomaError(Code.PARAMS_INVALID, f"{shown!r} is longer than the file system takes.")
        case errno.ENOSPC | errno.EDQUOT:
            return SomaError(Code.DISK_FULL, f"{shown!r}: the disk that holds the jobs' folders is full.")
        case errno.EACCES | errno.EPERM:
            return SomaError(Code.FILE_NOT_FOUND, f"{shown!r} cannot be opened: its permissions do not let us.")
        case _:
            return SomaError(Code.INTERNAL_ERROR, f"{shown!r}: {error.strerror}.")


def _is_link(folder: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode)
    except FileNotFoundError:
        return False


def _not_a_folder(shown: str, name: str) -> SomaError:
    return SomaError(Code.FILE_NOT_FOUND, f"{shown!r}: {name!r} is not a folder.")

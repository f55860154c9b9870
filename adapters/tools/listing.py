"""Listing the files below a folder, for files.list."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.workspace import Place, locate, opened_folder, translate
from somagent.domain.actions.local import FileEntry, FilesListOutput, FilesListParams
from somagent.domain.errors import Code, SomaError

MAX_ENTRIES = 10_000
MAX_DEPTH = 100

_TEMPORARY = re.compile(r"\.somagent-[0-9a-f]{32}\.tmp")  # what a write or clone has not finished


def list_files(context: ToolContext, params: FilesListParams) -> FilesListOutput:
    """Every regular file at or below the path, sorted by path; what git keeps for itself (``.git``) is left out.

    The paths can be given to ``files.read`` as they are. Symbolic links are left out, since none can be read.
    """
    place = locate(context, params.path)
    entries = _single(place, params.path)
    if entries is None:
        entries = []
        with opened_folder(place.root, place.parts, params.path) as folder:
            prefix = "" if place.display == "." else place.display + "/"
            for entry in _below(folder, prefix, params.path, MAX_DEPTH):
                if len(entries) == MAX_ENTRIES:
                    raise SomaError(
                        Code.OUTPUT_TOO_LARGE,
                        f"{params.path!r} holds more than {MAX_ENTRIES:,} files. List a folder below it.",
                    )
                entries.append(entry)
    return FilesListOutput(entries=sorted(entries, key=lambda entry: entry.path))


def _single(place: Place, shown: str) -> list[FileEntry] | None:
    """The one entry where the path is a file, None where it is a folder."""
    if not place.parts:
        return None
    *folders, name = place.parts
    with opened_folder(place.root, tuple(folders), shown) as folder:
        try:
            found = os.lstat(name, dir_fd=folder)
        except OSError as error:
            raise translate(error, folder, name, shown) from error
    if stat.S_ISREG(found.st_mode):
        return [FileEntry(path=place.display, bytes=found.st_size)]
    return None


def _below(folder: int, prefix: str, shown: str, depth: int) -> Iterator[FileEntry]:
    if depth == 0:
        raise SomaError(Code.OUTPUT_TOO_LARGE, f"{shown!r} is nested more than {MAX_DEPTH} folders deep.")
    with os.scandir(folder) as found:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_folder in names:
        if name == ".git" or _TEMPORARY.fullmatch(name) or not _is_text(name):
            continue
        if is_folder:
            with _subfolder(folder, name) as below:
                if below is not None:
                    yield from _below(below, f"{prefix}{name}/", shown, depth - 1)
        else:
            status = _status(folder, name)
            if status is not None and stat.S_ISREG(status.st_mode):
                yield FileEntry(path=prefix + name, bytes=status.st_size)


@contextmanager
def _subfolder(folder: int, name: str) -> Iterator[int | None]:
    """The folder ``name``, or None where it went away, became a link or may not be read since it was seen."""
    try:
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        yield None
        return
    try:
        yield below
    finally:
        os.close(below)


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None


def _is_text(name: str) -> bool:
    """Whether a name is valid UTF-8, and so can stand in a path parameter."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name

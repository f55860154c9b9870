"""files.write, read, read_all and list: text files in the places of :mod:`somagent.adapters.tools.workspace`."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import stat

from pydantic import BaseModel

from somagent.adapters.tools.documents import gather
from somagent.adapters.tools.listing import list_files
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.workspace import (
    link_refused,
    locate,
    locate_for_writing,
    opened_folder,
    translate,
)
from somagent.domain.actions.local import (
    FilesListParams,
    FilesReadAllOutput,
    FilesReadAllParams,
    FilesReadOutput,
    FilesReadParams,
    FilesWriteOutput,
    FilesWriteParams,
)
from somagent.domain.errors import Code, SomaError

MAX_FILE_BYTES = 10 * 1024 * 1024

_INLINE_BYTES = 256 * 1024  # below this a thread costs more than the write


class FilesTool:
    """Reads, writes and lists. Every effect is idempotent by content: writing twice leaves what writing once does."""

    async def execute(self, verb: str, params: BaseModel, context: ToolContext) -> BaseModel:
        """Run ``files.<verb>``.

        Raises:
            SomaError: PATH_OUTSIDE_WORKSPACE, FILE_NOT_FOUND, FILE_NOT_TEXT, FILE_TOO_LARGE, OUTPUT_TOO_LARGE (a
                listing), DISK_FULL.
        """
        match params:
            case FilesWriteParams():
                if len(params.content) <= _INLINE_BYTES:
                    return write(context, params)
                return await asyncio.to_thread(write, context, params)
            case FilesReadParams():
                return read(context, params)
            case FilesListParams():
                return await asyncio.to_thread(list_files, context, params)
            case FilesReadAllParams():
                return await asyncio.to_thread(read_all, context, params)
            case _:
                raise SomaError(Code.PARAMS_INVALID, f"files has no action {verb!r}.")


def write(context: ToolContext, params: FilesWriteParams) -> FilesWriteOutput:
    """Write the file whole or not at all, and durably: it is on disk before its step is recorded as done."""
    place = locate_for_writing(context, params.path)
    if not place.parts:
        raise SomaError(Code.PARAMS_INVALID, f"{params.path!r} is the job's folder itself; name a file in it.")
    content = _encode(params)
    output = FilesWriteOutput(path=place.display, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    *folders, name = place.parts
    with opened_folder(place.root, tuple(folders), params.path, create=True) as folder:
        if not _holds(folder, name, content, params.path):
            _replace(folder, name, content, params.path)
    return output


def read(context: ToolContext, params: FilesReadParams) -> FilesReadOutput:
    """The text of a file: UTF-8 without null characters, up to 10 MiB."""
    place = locate(context, params.path)
    if not place.parts:
        raise SomaError(Code.FILE_NOT_FOUND, f"{params.path!r} is a folder; name a file in it.")
    *folders, name = place.parts
    with opened_folder(place.root, tuple(folders), params.path) as folder:
        content = _content(folder, name, params.path)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise SomaError(
            Code.FILE_NOT_TEXT, f"{params.path!r} is not UTF-8 text: byte {error.start} does not fit."
        ) from None
    if "\0" in text:
        raise SomaError(Code.FILE_NOT_TEXT, f"{params.path!r} holds null characters, so it is not text.")
    return FilesReadOutput(content=text, bytes=len(content))


def read_all(context: ToolContext, params: FilesReadAllParams) -> FilesReadAllOutput:
    """Every text file at or below the path that matches; what cannot be read as text is named, not fatal."""
    entries = list_files(context, FilesListParams(path=params.path)).entries
    return gather(entries, lambda path: read(context, FilesReadParams(path=path)), params)


def _encode(params: FilesWriteParams) -> bytes:
    if len(params.content) > MAX_FILE_BYTES:
        raise _too_large(params.path, len(params.content))
    try:
        content = params.content.encode()
    except UnicodeEncodeError:
        raise SomaError(Code.PARAMS_INVALID, f"The content for {params.path!r} is not valid Unicode.") from None
    if len(content) > MAX_FILE_BYTES:
        raise _too_large(params.path, len(content))
    return content


def _too_large(shown: str, size: int) -> SomaError:
    return SomaError(Code.FILE_TOO_LARGE, f"{shown!r} has {size:,} bytes; at most {MAX_FILE_BYTES:,} are taken.")


def _holds(folder: int, name: str, content: bytes, shown: str) -> bool:
    """Whether the file is there with just this content; also refuses to replace what is no regular file."""
    try:
        found = os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise translate(error, folder, name, shown) from error
    if stat.S_ISLNK(found.st_mode):
        raise link_refused(shown)
    if not stat.S_ISREG(found.st_mode):
        raise SomaError(Code.PARAMS_INVALID, f"{shown!r} is there and is no regular file, so it cannot be written.")
    return found.st_size == len(content) and _content(folder, name, shown) == content


def _replace(folder: int, name: str, content: bytes, shown: str) -> None:
    temporary = f".somagent-{secrets.token_hex(16)}.tmp"
    try:
        target = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644, dir_fd=folder
        )
    except OSError as error:
        raise translate(error, folder, name, shown) from error
    try:
        with os.fdopen(target, "wb", buffering=0) as file:
            _write_all(file.fileno(), content)
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        os.unlink(temporary, dir_fd=folder)
        raise translate(error, folder, name, shown) from error
    os.fsync(folder)


def _write_all(target: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(target, rest) :]


def _content(folder: int, name: str, shown: str) -> bytes:
    # O_NONBLOCK: a named pipe that a program left behind must not hold the worker.
    try:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        raise translate(error, folder, name, shown) from error
    try:
        found = os.fstat(source)
        if not stat.S_ISREG(found.st_mode):
            raise SomaError(Code.FILE_NOT_FOUND, f"{shown!r} is not a regular file.")
        if found.st_size > MAX_FILE_BYTES:
            raise _too_large(shown, found.st_size)
        with os.fdopen(source, "rb", closefd=False) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(source)
    if len(content) > MAX_FILE_BYTES:
        raise _too_large(shown, len(content))
    return content

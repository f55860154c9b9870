"""The files a job leaves: what its steps wrote, and outputs that were saved under a name."""

from __future__ import annotations

import mimetypes
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import JsonValue

from somagent.adapters.tools.files import write
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.workspace import opened_folder
from somagent.domain.actions.local import FilesWriteParams
from somagent.domain.errors import Code, SomaError

_TEXT_SUFFIXES = (".md", ".txt", ".html", ".csv", ".log")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file in a job's folder. ``name`` is its path below the folder."""

    name: str
    bytes: int
    media_type: str


def save_output(context: ToolContext, name: str, output: JsonValue) -> None:
    """Keep a step's output as a file: JSON, or its one text where the name is a text file's.

    Raises:
        SomaError: as ``files.write`` does.
    """
    content = orjson.dumps(output, option=orjson.OPT_INDENT_2).decode()
    if name.endswith(_TEXT_SUFFIXES) and isinstance(output, dict):
        texts = [output[key] for key in ("completion", "text", "content", "body", "answer") if key in output]
        if texts and isinstance(texts[0], str):
            content = texts[0]
    write(context, FilesWriteParams(path=name, content=content))


def list_artifacts(workspace: Path) -> list[Artifact]:
    """Every regular file of the folder, by name; links and hidden files are left out."""
    found: list[Artifact] = []
    for folder, subfolders, files in os.walk(workspace, followlinks=False):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder) / name
            if name.startswith(".") or path.is_symlink() or not path.is_file():
                continue
            found.append(Artifact(path.relative_to(workspace).as_posix(), path.stat().st_size, media_type(name)))
    return sorted(found, key=lambda artifact: artifact.name)


def open_artifact(workspace: Path, name: str) -> tuple[int, int]:
    """The file of that name as an open descriptor, with its size in bytes; the caller closes it.

    No link is followed on the way, so a program of the job cannot swap one in between a look and the opening.

    Raises:
        SomaError: ``not_found``, for whatever is not an ordinary file inside the folder.
    """
    parts = tuple(name.split("/"))
    missing = SomaError(Code.NOT_FOUND, "The job has no artifact of this name. GET …/artifacts lists them.")
    if "\x00" in name or any(part in ("", ".", "..") for part in parts):
        raise missing
    try:
        with opened_folder(workspace, parts[:-1], name) as folder:
            descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except (OSError, SomaError):
        raise missing from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise missing
    return descriptor, found.st_size


def chunks_of(descriptor: int, size: int = 256 * 1024) -> Iterator[bytes]:
    """The rest of an open file, piece by piece; closed at the end."""
    with os.fdopen(descriptor, "rb") as file:
        while piece := file.read(size):
            yield piece


def media_type(name: str) -> str:
    """The media type that a file's name tells."""
    if name.endswith(".md"):
        return "text/markdown; charset=utf-8"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"

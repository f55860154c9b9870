"""The files a job leaves: what its steps wrote, and outputs that were saved under a name."""

from __future__ import annotations

import mimetypes
import os
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import JsonValue

from somagent.domain.errors import Code, SomaError

_TEXT_SUFFIXES = (".md", ".txt", ".html", ".csv", ".log")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file in a job's folder. ``name`` is its path below the folder."""

    name: str
    bytes: int
    media_type: str


def save_output(workspace: Path, name: str, output: JsonValue) -> None:
    """Keep a step's output as a file: JSON, or its one text where the name is a text file's."""
    content = orjson.dumps(output, option=orjson.OPT_INDENT_2)
    if name.endswith(_TEXT_SUFFIXES) and isinstance(output, dict):
        texts = [output[key] for key in ("completion", "text", "content", "body", "answer") if key in output]
        if texts and isinstance(texts[0], str):
            content = texts[0].encode()
    partial = workspace / f".{name}.partial"
    try:
        partial.write_bytes(content)
        partial.replace(workspace / name)
    except OSError as error:
        raise SomaError(Code.DISK_FULL, f"The output cannot be saved as {name}: {error.strerror}.") from error


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


def artifact_path(workspace: Path, name: str) -> Path:
    """The file of that name.

    Raises:
        SomaError: ``not_found``, for whatever is not an ordinary file inside the folder.
    """
    path = workspace / name
    inside = name and "\x00" not in name and path.resolve().is_relative_to(workspace.resolve())
    if not inside or path.is_symlink() or not path.is_file():
        raise SomaError(Code.NOT_FOUND, "The job has no artifact of this name. GET …/artifacts lists them.")
    return path.resolve()


def media_type(name: str) -> str:
    """The media type that a file's name tells."""
    if name.endswith(".md"):
        return "text/markdown; charset=utf-8"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"

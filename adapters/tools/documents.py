"""Gathering a folder's text files into documents, for files.read_all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from somagent.domain.actions.local import (
    Document,
    FileEntry,
    FilesReadAllOutput,
    FilesReadAllParams,
    FilesReadOutput,
    LeftOutFile,
)
from somagent.domain.errors import Code, SomaError

_LEFT_OUT = frozenset({Code.FILE_NOT_TEXT, Code.FILE_TOO_LARGE, Code.FILE_NOT_FOUND})


def gather(
    entries: Iterable[FileEntry], read: Callable[[str], FilesReadOutput], params: FilesReadAllParams
) -> FilesReadAllOutput:
    """The documents among ``entries`` that match, in their order, within ``params.max_bytes`` of content."""
    documents: list[Document] = []
    left_out: list[LeftOutFile] = []
    room = params.max_bytes
    for entry in entries:
        if not _matches(entry.path, params.pattern):
            continue
        if entry.bytes > room:
            left_out.append(LeftOutFile(path=entry.path, reason=f"does not fit into max_bytes {params.max_bytes:,}"))
            continue
        try:
            found = read(entry.path)
        except SomaError as error:
            if error.code not in _LEFT_OUT:
                raise
            left_out.append(LeftOutFile(path=entry.path, reason=error.detail))
            continue
        room -= found.bytes
        digest = hashlib.sha256(found.content.encode()).hexdigest()
        documents.append(Document(path=entry.path, content=found.content, bytes=found.bytes, sha256=digest))
    text = "\n\n".join(f"# {document.path}\n\n{document.content.strip()}" for document in documents)
    return FilesReadAllOutput(documents=documents, text=text, count=len(documents), left_out=left_out)


def _matches(path: str, pattern: str) -> bool:
    """A pattern without a slash is about names, one with a slash about whole paths; several are parted by commas."""
    return any(
        fnmatchcase(path if "/" in single else PurePosixPath(path).name, single.strip())
        for single in pattern.split(",")
    )

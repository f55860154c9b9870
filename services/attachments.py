"""Files that people give to jobs, sessions and runs: bytes on disk, everything else in Postgres.

A file is written aside, moved to ``<tenant>/<id>/<name>`` and only then recorded, so a row always has its bytes.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import Attachment
from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.domain.times import Timestamp
from somagent.services.audit.intake import by, take_in

LARGEST_BYTES: Final = 50 * 1024 * 1024
_LONGEST_NAME_BYTES: Final = 200
_FLUSH_BYTES: Final = 1024 * 1024


class AttachmentView(Model):
    """What is known of an attachment."""

    id: UUID
    name: str
    media_type: str
    bytes: int
    sha256: str
    created_at: Timestamp


@dataclass(slots=True)
class Incoming:
    """A file on its way in, beside the place where it will lie."""

    folder: Path
    name: str = "attachment"
    media_type: str = "application/octet-stream"
    size: int = 0
    _buffer: bytearray = field(default_factory=bytearray)
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    _path: Path | None = None
    _file: BinaryIO | None = None

    async def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            SomaError: ``body_too_large`` past 50 MiB; ``disk_full``.
        """
        self.size += len(data)
        if self.size > LARGEST_BYTES:
            raise SomaError(
                Code.BODY_TOO_LARGE, f"The file is larger than the {LARGEST_BYTES // 2**20} MiB that are allowed."
            )
        self._buffer += data
        if len(self._buffer) >= _FLUSH_BYTES:
            await self._flush()

    async def finish(self) -> str:
        """Bring everything to the disk. Answers the content's hex SHA-256.

        Raises:
            SomaError: ``disk_full``.
        """
        await self._flush()
        await _on_disk(self._close)
        return self._digest.hexdigest()

    async def place(self, target: Path) -> None:
        """Move the finished file to ``target``, whose folder is made for it.

        Raises:
            SomaError: ``disk_full``.
        """
        await _on_disk(lambda: self._move(target))

    async def discard(self) -> None:
        """Leave nothing behind of a file that was not placed."""
        await asyncio.to_thread(self._remove)

    async def _flush(self) -> None:
        chunk, self._buffer = bytes(self._buffer), bytearray()
        await _on_disk(lambda: self._append(chunk))

    def _append(self, chunk: bytes) -> None:
        if self._file is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path = self.folder / f".incoming-{uuid4()}"
            self._file = self._path.open("xb")
        self._digest.update(chunk)
        self._file.write(chunk)

    def _close(self) -> None:
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def _move(self, target: Path) -> None:
        if self._path is None:
            raise RuntimeError("place comes after finish")
        target.parent.mkdir(mode=0o700, parents=True)
        self._path.rename(target)
        for folder in (target.parent, target.parent.parent):
            _sync_folder(folder)

    def _remove(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def safe_name(name: str) -> str:
    """A name as one harmless file name: no folders, no control characters, at most 200 bytes of UTF-8."""
    last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    printable = "".join(character for character in last if unicodedata.category(character)[0] != "C").strip(" .")
    stem, dot, suffix = printable.rpartition(".")
    ending = dot + suffix if stem and len(suffix.encode()) <= 16 else ""
    room = _LONGEST_NAME_BYTES - len(ending.encode())
    kept = printable.removesuffix(ending) if ending else printable
    return (kept.encode()[:room].decode(errors="ignore") + ending) or "attachment"


def path_of(root: Path, tenant_id: str, attachment: AttachmentView) -> Path:
    """Where the bytes lie; ``root`` is ``settings.attachments``."""
    return root / tenant_id / str(attachment.id) / attachment.name


async def record(session: AsyncSession, caller: Caller, root: Path, incoming: Incoming, sha256: str) -> AttachmentView:
    """Place a finished file and record it.

    Raises:
        SomaError: ``disk_full``.
    """
    row = Attachment(
        id=uuid4(),
        tenant_id=caller.tenant_id,
        name=incoming.name,
        media_type=incoming.media_type,
        bytes=incoming.size,
        sha256=sha256,
        created_by=caller.user_id,
    )
    session.add(row)
    await session.flush()
    await session.refresh(row, ["created_at"])
    view = view_of(row)
    happening = by(
        caller,
        "attachment.created",
        f"attachment:{row.id}",
        detail={"media_type": row.media_type, "bytes": row.bytes, "sha256": row.sha256},
    )
    await take_in(await raw_connection(session), happening)
    await incoming.place(path_of(root, caller.tenant_id, view))
    return view


async def find(session: AsyncSession, attachment_id: UUID) -> AttachmentView:
    """One attachment of the session's tenant.

    Raises:
        SomaError: ``not_found``.
    """
    row = await session.scalar(select(Attachment).where(Attachment.id == attachment_id))
    if row is None:
        raise SomaError(Code.NOT_FOUND, "There is no such attachment.")
    return view_of(row)


def view_of(row: Attachment) -> AttachmentView:
    """A row as users see it."""
    return AttachmentView(
        id=row.id,
        name=row.name,
        media_type=row.media_type,
        bytes=row.bytes,
        sha256=row.sha256,
        created_at=row.created_at,
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _on_disk(act: Callable[[], None]) -> None:
    try:
        await asyncio.to_thread(act)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise SomaError(Code.DISK_FULL, "The disk for attachments is full. The operator must make room.") from error
        raise

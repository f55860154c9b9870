"""Attachments of a turn: what a model can read of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg

from somagent.domain.errors import Code, Fault, SomaError

READ_CHARACTERS: Final = 6000
"""What is read of all attachments of a turn together; a capsule that gets them as files reads everything."""
_TEXTS: Final = ("text/", "application/json", "application/yaml", "application/xml", "application/x-yaml")

_KNOWN: Final = "SELECT id, media_type FROM attachments WHERE id = ANY($1::uuid[])"
_OF_TURN: Final = """
SELECT a.id, a.name, a.media_type FROM session_events e
CROSS JOIN LATERAL jsonb_array_elements_text(e.data->'attachments') WITH ORDINALITY AS given(id, position)
JOIN attachments a ON a.id = given.id::uuid
WHERE e.session_id = $1 AND e.type = 'turn.started' AND (e.data->>'seq')::int = $2 ORDER BY given.position
"""


async def require_readable(connection: asyncpg.Connection, wanted: Sequence[UUID], *, by_job: bool) -> None:
    """Insist that every attachment exists, and is text where no job reads it.

    Raises:
        SomaError: ``input_invalid`` with every fault.
    """
    if not wanted:
        return
    media = {row["id"]: row["media_type"] for row in await connection.fetch(_KNOWN, list(wanted))}
    faults = [
        Fault(f"attachments[{position}]", code, detail)
        for position, attachment in enumerate(wanted)
        for code, detail in _faults(media.get(attachment), by_job=by_job)
    ]
    if faults:
        raise SomaError(Code.INPUT_INVALID, "Some attachments cannot be used.", errors=faults)


async def attached_texts(
    connection: asyncpg.Connection, root: Path, tenant_id: str, turn: tuple[UUID, int]
) -> list[str]:
    """The beginnings of a turn's attachments that are text, each under its name.

    Args:
        root: where attachments lie, by tenant and id.
    """
    rows = [row for row in await connection.fetch(_OF_TURN, *turn) if _is_text(row["media_type"])]
    if not rows:
        return []
    share = READ_CHARACTERS // len(rows)
    paths = [root / tenant_id / str(row["id"]) / row["name"] for row in rows]
    texts = await asyncio.to_thread(lambda: [_beginning(path, share) for path in paths])
    return [f"{row['name']}:\n{text}" for row, text in zip(rows, texts, strict=True) if text.strip()]


def _faults(media_type: str | None, *, by_job: bool) -> list[tuple[str, str]]:
    if media_type is None:
        return [("not_found", "there is no such attachment; POST /v1/attachments makes one")]
    if not by_job and not _is_text(media_type):
        return [("not_text", f"a model reads text, and this is {media_type}; let a job of the turn read it")]
    return []


def _is_text(media_type: str) -> bool:
    return media_type.startswith(_TEXTS)


def _beginning(path: Path, characters: int) -> str:
    """Text is decoded leniently: a cut or wrong byte is no reason to answer without it."""
    try:
        with path.open("rb") as file:
            raw = file.read(4 * characters)
    except FileNotFoundError:
        return ""
    return raw.decode("utf-8", "replace").replace("\0", "\ufffd")[:characters]

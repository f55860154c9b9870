"""Cutting a document into pieces that can be remembered, found and cited one by one."""

from __future__ import annotations

import re

_PARAGRAPH = re.compile(r"\n[ \t]*\n+")
_PAUSE = re.compile(r"(?<=[.!?…]\s)|(?<=\n)")


def chunks(text: str, size: int = 1200) -> list[str]:
    """``text`` in pieces of at most ``size`` characters, in its order, cut where a reader would pause.

    Paragraphs are kept together as long as they fit; a longer one is cut between sentences or lines, and a longer
    sentence wherever it must be. Blanks around a piece are dropped, nothing else is; an empty text has no pieces.
    """
    pieces: list[str] = []
    for paragraph in _PARAGRAPH.split(text):
        for part in _parts(paragraph.strip(), size):
            if pieces and len(pieces[-1]) + 2 + len(part) <= size:
                pieces[-1] = f"{pieces[-1]}\n\n{part}"
            else:
                pieces.append(part)
    return pieces


def _parts(paragraph: str, size: int) -> list[str]:
    if len(paragraph) <= size:
        return [paragraph] if paragraph else []
    parts: list[str] = []
    for sentence in _PAUSE.split(paragraph):
        for start in range(0, len(sentence), size):
            piece = sentence[start : start + size]
            if parts and len(parts[-1]) + len(piece) <= size:
                parts[-1] += piece
            else:
                parts.append(piece)
    return [stripped for part in parts if (stripped := part.strip())]

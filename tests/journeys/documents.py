"""Reads the project's documents as its tests need them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"

_FENCED = re.compile(r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; ``line`` is where its fence stands."""

    language: str
    text: str
    line: int


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(found["language"], found["text"], text.count("\n", 0, found.start()) + 1)
        for found in _FENCED.finditer(text)
    ]


def missing_line(shown: str, output: str) -> str | None:
    """The first line of ``shown`` that ``output`` does not have after those before it; None when all are there.

    ``…`` stands for anything within a line, and alone on a line for any lines.
    """
    lines = iter(output.splitlines())
    for wanted in shown.splitlines():
        if wanted.strip() in ("", "…"):
            continue
        pattern = ".*".join(re.escape(part) for part in wanted.strip().split("…"))
        if not any(re.fullmatch(pattern, line.strip()) for line in lines):
            return wanted
    return None

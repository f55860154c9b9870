"""The blocks of a Markdown or plain text: headings, paragraphs, list items; code and tables left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

_FENCE: Final = re.compile(r"^\s{0,3}(`{3,}|~{3,})")
_HEADING: Final = re.compile(r"^\s{0,3}#{1,6}\s+(?P<title>.*?)(?:\s+#+)?\s*$")
_UNDERLINE: Final = re.compile(r"^\s{0,3}(=+|-+)\s*$")
_ITEM: Final = re.compile(r"^\s*(?:[-*+•–]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?(?P<text>\S.*)$")
_TABLE_ROW: Final = re.compile(r"^\s*\|.*\|\s*$")
_RULE: Final = re.compile(r"^\s*([-*_=~]\s*){3,}$")
_QUOTE: Final = re.compile(r"^\s{0,3}>\s?")
_SPACES: Final = re.compile(r"[^\S\n]+")
_FRONT_MATTER: Final = re.compile(r"\A---\s*\n.*?\n---\s*(?:\n|\Z)", re.DOTALL)
_OWN_LINE: Final = re.compile(
    r"^\s*(?:\[?\d{4}-\d\d-\d\d|\[?\d\d:\d\d|(?:TRACE|DEBUG|INFO|WARN|WARNING|ERROR|FATAL|CRITICAL)\b|[0-9a-f]{7,40}\s)"
)
_KEY_LINE: Final = re.compile(r"^\s*[*_]{0,2}\w[\w/()-]*(?: [\w/()-]+){0,2}[*_]{0,2}:[*_]{0,2}\s")
_LONG_LINE: Final = 60
_ENDED: Final = re.compile(r"[.!?…。！？:;][\"'”’»)\]]*\s*$")


class BlockKind(StrEnum):
    """What a block is."""

    HEADING = "heading"
    PARAGRAPH = "paragraph"
    ITEM = "item"
    LINE = "line"  # a line that stands by itself: a log entry, ``key: value``


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of text without its Markdown markers, its lines joined by single spaces."""

    kind: BlockKind
    text: str


def blocks(text: str) -> list[Block]:
    """The blocks in order. Fenced code, tables, rules, comments and YAML front matter are no prose: left out."""
    body = _FRONT_MATTER.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    body = _SPACES.sub(" ", _without_comments(body))
    return [block for group in _groups(body.split("\n")) for block in _blocks_of(group)]


def _without_comments(text: str) -> str:
    """Without ``<!-- -->``, in one pass: a pattern would start over at each opening that nothing closes."""
    kept: list[str] = []
    position = 0
    while (start := text.find("<!--", position)) >= 0:
        end = text.find("-->", start)
        if end < 0:
            break
        kept.append(text[position:start])
        position = end + 3
    return "".join((*kept, text[position:]))


def _groups(lines: Iterable[str]) -> Iterator[list[str]]:
    """Runs of lines between blank ones; what is no prose ends a run and is dropped."""
    run: list[str] = []
    fence = ""
    for raw in lines:
        line = _QUOTE.sub("", raw)
        opening = _FENCE.match(line)
        if fence:
            if opening and opening.group(1).startswith(fence):
                fence = ""
            continue
        if opening:
            fence = opening.group(1)
        underlined = bool(run) and _UNDERLINE.match(line) is not None and _ITEM.match(run[-1]) is None
        if underlined:
            yield run[:-1]
            yield [f"# {run[-1].strip()}"]
            run = []
        elif opening or not line.strip() or _TABLE_ROW.match(line) or _RULE.match(line):
            yield run
            run = []
        elif _HEADING.match(line):
            yield run
            yield [line]
            run = []
        else:
            run.append(line)
    yield run


def _blocks_of(lines: list[str]) -> Iterator[Block]:
    if len(lines) == 1 and (heading := _HEADING.match(lines[0])):
        if heading["title"]:
            yield Block(BlockKind.HEADING, _squeezed(heading["title"]))
        return
    for kind, members in _parts(lines):
        yield Block(kind, _squeezed(" ".join(members)))


def _parts(lines: list[str]) -> Iterator[tuple[BlockKind, list[str]]]:
    """Lines that belong together: an item with its continuation, a hard-wrapped paragraph, a line by itself."""
    width = max((len(line.rstrip()) for line in lines), default=0)
    part: list[str] = []
    kind = BlockKind.PARAGRAPH
    for previous, line in pairwise(["", *lines]):
        item = _ITEM.match(line)
        if item is not None or not part or not _continues(previous, line, width):
            if part:
                yield kind, part
            kind = BlockKind.ITEM if item else BlockKind.LINE if _stands_alone(line, lines) else BlockKind.PARAGRAPH
            part = [item["text"] if item else line]
        else:
            part.append(line)
    if part:
        yield kind, part


def _continues(previous: str, line: str, width: int) -> bool:
    """Whether a line goes on with the one before.

    Hard-wrapped text breaks where the next word would not fit; a long line without an end goes on; entries of a log
    and ``key: value`` lines stand alone.
    """
    if _OWN_LINE.match(line):
        return False
    open_ended = _ENDED.search(previous) is None
    long = len(previous.rstrip()) >= _LONG_LINE
    if _KEY_LINE.match(line):
        return open_ended and long and not _KEY_LINE.match(previous)
    first = line.split(maxsplit=1)[0]
    if first[:1].islower() or (_ITEM.match(previous) and line[:1].isspace()):
        return True
    return not open_ended or long or len(previous.rstrip()) + 1 + len(first) > width


def _stands_alone(line: str, lines: list[str]) -> bool:
    if _OWN_LINE.match(line) or _KEY_LINE.match(line):
        return True
    return len(lines) > 1 and _ENDED.search(line) is None and len(line) < _LONG_LINE


def _squeezed(text: str) -> str:
    return " ".join(text.split())

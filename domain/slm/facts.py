"""What a text says in a form that can be read off: ``key: value`` lines, lists, tables, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from somagent.domain.slm.blocks import BlockKind, blocks
from somagent.domain.slm.words import stem, words

_PAIR: Final = re.compile(
    r"^\s*(?:[-*+•]\s+|\d{1,3}[.)]\s+|>\s?|#{1,6}\s+)*[*_`]{0,3}(?P<key>[^\W\d_][^:=\n|{}<>]{0,60}?)[*_`]{0,3}\s*"
    r"(?::|=|：)[*_`]{0,3}(?:\s+(?P<value>\S.*?)|\s*)$"
)
_DIVIDER: Final = re.compile(r"^\|? ?:?-{2,}:? ?(?:\| ?:?-{2,}:? ?)*\|?$")

Key = frozenset[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything read off a text.

    Attributes:
        text: the text itself.
        pairs: ``key: value`` in order, the key as the set of its words' stems.
        lists: each list's items, under the words of the heading or the line that introduces it.
        tables: each table's rows by column.
        title: the first heading, or None.
    """

    text: str
    pairs: tuple[tuple[Key, str], ...]
    lists: tuple[tuple[Key, tuple[str, ...]], ...]
    tables: tuple[tuple[dict[str, str], ...], ...]
    title: str | None


def key_of(name: str) -> Key:
    """The words of a name, however it is written: ``dueDate``, ``due_date`` and ``Due date`` are one key."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return frozenset(stem(word) for word in words(spaced.replace("_", " ").replace("-", " ")))


def read_facts(text: str) -> Facts:
    """Reads the facts off ``text``."""
    headings = (block.text for block in blocks(text) if block.kind is BlockKind.HEADING)
    return Facts(text, tuple(_pairs(text)), tuple(_lists(text)), tuple(_tables(text)), next(headings, None))


def json_values(text: str) -> Iterator[JsonValue]:
    """Every JSON object or array that stands in the text by itself: the whole of it, fenced, or from a brace on."""
    for candidate in (text.strip(), *_fenced(text)):
        if candidate[:1] in "{[" and candidate:
            try:
                yield json.loads(candidate)
            except (ValueError, RecursionError):
                continue
    decoder = json.JSONDecoder()
    position = 0
    for _ in range(20):
        found = re.compile(r"[{\[]").search(text, position)
        if found is None:
            return
        try:
            value, position = decoder.raw_decode(text, found.start())
            yield value
        except (ValueError, RecursionError):
            position = found.end()


def _fenced(text: str) -> Iterator[str]:
    """What stands between each two code fences."""
    inside: list[str] | None = None
    for line in text.split("\n"):
        if not line.lstrip().startswith("```"):
            if inside is not None:
                inside.append(line)
        elif inside is None:
            inside = []
        else:
            yield "\n".join(inside).strip()
            inside = None


def _pairs(text: str) -> Iterator[tuple[Key, str]]:
    for line in text.split("\n"):
        match = _PAIR.match(line)
        if match is not None and match["value"] and len(match["key"].split()) <= 6:
            yield key_of(match["key"]), match["value"].strip().strip("*_`").strip()


def _lists(text: str) -> Iterator[tuple[Key, tuple[str, ...]]]:
    lead = ""
    items: list[str] = []
    for block in blocks(text):
        if block.kind is BlockKind.ITEM:
            items.append(block.text)
            continue
        if items:
            yield key_of(lead), tuple(items)
            items = []
        lead = block.text.rstrip(":")[-80:]
    if items:
        yield key_of(lead), tuple(items)


def _tables(text: str) -> Iterator[tuple[dict[str, str], ...]]:
    lines = text.split("\n")
    index = 0
    while index + 1 < len(lines):
        if "|" in lines[index] and _DIVIDER.match(" ".join(lines[index + 1].split())):
            header = _cells(lines[index])
            rows = []
            index += 2
            while index < len(lines) and "|" in lines[index]:
                rows.append(dict(zip(header, _cells(lines[index]), strict=False)))
                index += 1
            yield tuple(rows)
        else:
            index += 1


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("*`").strip() for cell in line.strip().strip("|").split("|")]

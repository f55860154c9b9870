"""Sentences of a text, as they stand in it up to white space and Markdown's markers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from somagent.domain.slm.blocks import BlockKind, blocks

_ABBREVIATED: Final = """dr mr mrs ms prof sr jr st messrs hon rev gen col capt lt sgt gov sen rep fig figs eq eqs sec
ch vol no nos nr pp ed eds al vs cf ca approx est dept univ inc ltd co corp bros e.g i.e viz resp incl max min avg abb
abs art bd bzw d.h z.b u.a s.o s.u usw evtl ggf vgl str tel jan feb mar apr jun jul aug sept sep oct okt nov dec dez
mme mlle av p.ex a.m p.m u.s u.k u.n etc"""
_ABBREVIATIONS: Final = frozenset(_ABBREVIATED.split())
_OFTEN_LAST: Final = frozenset(
    ("etc", "usw", "art", "max", "min", "sec", "inc", "ltd", "co", "corp", "a.m", "p.m", "u.s", "u.k", "no")
)
_BREAK: Final = re.compile(
    r"(?<![.!?…])(?P<mark>[.!?…]+)(?P<close>[\"'”’»)\]*_]*)\s+(?=[\"'“‘«(\[*_¿¡]*[^\s])|(?P<wide>[。！？]+[」』）]*)"
)
_LAST_WORD: Final = re.compile(r"[\w.]*\w$")
_OPENERS: Final = "\"'“‘«([*_¿¡"
_MONTH: Final = re.compile(r"(?:Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember)\b")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence.

    Attributes:
        text: its words as they stand, white space squeezed.
        position: its place among all sentences, from 0.
        block: the place of its block; sentences of one paragraph share it.
        kind: what its block is.
        heading: the heading it stands under, or the empty string.
    """

    text: str
    position: int
    block: int
    kind: BlockKind
    heading: str


def sentences(text: str) -> list[Sentence]:
    """Every sentence of the text's prose, list items and lines, in order. Headings are context, not sentences."""
    found: list[Sentence] = []
    heading = ""
    for number, block in enumerate(blocks(text)):
        if block.kind is BlockKind.HEADING:
            heading = block.text
            continue
        for piece in split_sentences(block.text):
            found.append(Sentence(piece, len(found), number, block.kind, heading))
    return found


def split_sentences(paragraph: str) -> Iterator[str]:
    """The sentences of one paragraph. A full stop after an abbreviation, an initial or inside a date ends none."""
    start = 0
    for match in _BREAK.finditer(paragraph):
        if match["wide"] is None and not _ends_sentence(paragraph, match):
            continue
        sentence = paragraph[start : match.end()].strip()
        start = match.end()
        if sentence:
            yield sentence
    rest = paragraph[start:].strip()
    if rest:
        yield rest


def _ends_sentence(paragraph: str, match: re.Match[str]) -> bool:
    following = paragraph[match.end() :].lstrip(_OPENERS)
    if following[:1].islower():
        return False
    if match["mark"] != ".":
        return True
    last = _LAST_WORD.search(paragraph, max(0, match.start() - 40), match.start())
    word = last.group().casefold() if last else ""
    if word in _ABBREVIATIONS:
        return word in _OFTEN_LAST and following[:1].isupper() and not following[:1].isdigit()
    if len(word) == 1 and word.isalpha() and last is not None:
        return not last.group().isupper() and following[1:2] != "."  # an initial (J. Doe), or parted (z. B.)
    return not (word.isdigit() and len(word) <= 2 and _MONTH.match(following))

"""Answers made of quotations: sentences of the sources, each followed by the number of its source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from somagent.domain.slm.embedding import embed
from somagent.domain.slm.sentences import Sentence, sentences
from somagent.domain.slm.summary import choose
from somagent.domain.slm.tfidf import Vector, term_matrix

NOTHING_FITS: Final = "Nothing that is remembered fits this question, so there is no answer from memory."
_MOST_SENTENCES: Final = 5
_MOST_TOKENS: Final = 400
_PER_PASSAGE: Final = 150
_COMPARED: Final = 60
_SPELLING: Final = 0.5
_HEADING: Final = 0.5
_NEAR: Final = 0.4
_EXCERPT: Final = 300
_ROW: Final = re.compile(r"^\s*\|(?P<cells>.*)\|\s*$", re.MULTILINE)
_RULE: Final = re.compile(r"^\s*\|[\s|:-]*\|\s*$\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Passage:
    """A source that fits. ``index`` is the number by which it is cited."""

    index: int
    text: str


def compose(question: str, passages: Sequence[Passage]) -> str:
    """Up to five sentences of ``passages`` that are nearest to ``question``, word for word, as ``Sentence. [1]``.

    A sentence's nearness is its TF-IDF cosine with the question, plus half its heading's, plus half the cosine of their
    hashing embeddings, which see through inflections. Sentences with at least 0.4 of the best one's nearness are
    chosen by maximal marginal relevance, so that two sources that say the same are not both quoted. They stand in the
    passages' order. A table's row counts as a sentence, its cells parted by colons. A passage without sentences (code)
    is quoted by its beginning, where nothing better is.
    """
    if not passages:
        return NOTHING_FITS
    found, owners = _all_sentences(passages)
    if not found:
        return _excerpt(passages[0])
    texts = [sentence.text for sentence in found]
    matrix = term_matrix(texts)
    nearness = matrix.similarity_to_text(question) + _HEADING * _headings(found, question)
    nearness = nearness + _SPELLING * _spelling(texts, question, nearness)
    top = float(nearness.max())
    if top <= 0:
        return _excerpt(passages[0])
    chosen = choose(found, matrix, np.where(nearness >= _NEAR * top, nearness, 0.0), _MOST_SENTENCES, _MOST_TOKENS)
    if not chosen:
        return _excerpt(passages[owners[int(np.argmax(nearness))]])
    return " ".join(f"{texts[place]} [{passages[owners[place]].index}]" for place in chosen)


def _all_sentences(passages: Sequence[Passage]) -> tuple[list[Sentence], list[int]]:
    found: list[Sentence] = []
    owners: list[int] = []
    for owner, passage in enumerate(passages):
        for sentence in sentences(_rows_as_items(passage.text))[:_PER_PASSAGE]:
            found.append(replace(sentence, position=len(found)))
            owners.append(owner)
    return found, owners


def _rows_as_items(text: str) -> str:
    return _ROW.sub(lambda row: "- " + ": ".join(cell.strip() for cell in row["cells"].split("|")), _RULE.sub("", text))


def _headings(found: Sequence[Sentence], question: str) -> Vector:
    distinct = list(dict.fromkeys(sentence.heading for sentence in found))
    nearness = dict(zip(distinct, term_matrix(distinct).similarity_to_text(question).tolist(), strict=True))
    return np.array([nearness[sentence.heading] for sentence in found], dtype=np.float64)


def _spelling(texts: Sequence[str], question: str, so_far: Vector) -> Vector:
    """Cosines of hashing embeddings, for the sentences that are nearest so far; they cost more than the rest."""
    asked = embed(question)
    result = np.zeros(len(texts))
    for place in np.argsort(-so_far, kind="stable")[:_COMPARED]:
        result[place] = max(0.0, float(embed(texts[place]) @ asked))
    return result


def _excerpt(passage: Passage) -> str:
    text = " ".join(passage.text.split())
    shown = text if len(text) <= _EXCERPT else text[:_EXCERPT].rsplit(" ", 1)[0] + " …"
    return f"{shown} [{passage.index}]"

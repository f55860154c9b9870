"""Extractive summaries: the sentences of a text that stand for the rest of it, word for word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from somagent.domain.slm.blocks import BlockKind
from somagent.domain.slm.sentences import Sentence, sentences
from somagent.domain.slm.tfidf import TermMatrix, Vector, term_matrix
from somagent.domain.slm.tokens import estimate_tokens
from somagent.domain.slm.words import terms

_DAMPING: Final = 0.85
_TOLERANCE: Final = 1e-9
_MAX_ROUNDS: Final = 200
_RELEVANCE_SHARE: Final = 0.7
_REPETITION: Final = 0.95
_MIN_TERMS: Final = 5
_FEWEST: Final = 3
_MOST: Final = 12
_SHARE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Choice:
    """Sentences chosen from a text, in its order, and the text they make."""

    sentences: tuple[Sentence, ...]
    text: str


def summarise(text: str, max_tokens: int) -> Choice:
    """The most central sentences of ``text`` within ``max_tokens`` estimated tokens, in their own order.

    Takes three tenths of the sentences, at least three and at most twelve. Sentences are ranked by
    :func:`rank_sentences` and chosen by :func:`choose`, so that no two say the same.
    A text without a sentence gives an empty choice; one whose every sentence is too long, the beginning of the best.
    """
    found = sentences(text)
    if not found:
        return Choice((), "")
    matrix = term_matrix([sentence.text for sentence in found])
    ranks = rank_sentences(matrix) * _substance(found)
    wanted = max(_FEWEST, min(_MOST, round(len(found) * _SHARE)))
    chosen = choose(found, matrix, ranks, wanted, max_tokens)
    return assemble([found[index] for index in chosen], max_tokens, fallback=found[int(np.argmax(ranks))])


def rank_sentences(matrix: TermMatrix, bias: Vector | None = None) -> Vector:
    """Centrality of each sentence: PageRank over the graph of cosine similarities; the ranks add up to 1.

    Continuous LexRank (Erkan and Radev, "LexRank: Graph-based Lexical Centrality as Salience in Text
    Summarization", JAIR 22, 2004, section 3.3), without self-similarity. With a ``bias`` the random jump prefers
    the sentences it favours: Otterbacher, Erkan and Radev, "Using Random Walks for Question-focused Sentence
    Retrieval" (HLT/EMNLP 2005).

    Args:
        matrix: the sentences' vectors.
        bias: a weight of 0 or more for each sentence; absent or all zero, every sentence is as likely.
    """
    count = matrix.count
    jump = np.full(count, 1.0 / count) if bias is None or bias.sum() <= 0 else bias / bias.sum()
    own = matrix.sentence_weights(matrix.term_weights(np.ones(count)))
    itself = matrix.squared_lengths()
    degree = own - itself
    linked = degree > 1e-12
    safe = np.where(linked, degree, 1.0)
    ranks = jump.copy()
    for _ in range(_MAX_ROUNDS):
        sent = np.where(linked, ranks / safe, 0.0)
        received = matrix.sentence_weights(matrix.term_weights(sent)) - itself * sent
        stranded = ranks[~linked].sum()
        following: Vector = (1.0 - _DAMPING) * jump + _DAMPING * (np.maximum(received, 0.0) + stranded * jump)
        following = following / following.sum()
        if np.abs(following - ranks).sum() < _TOLERANCE:
            return following
        ranks = following
    return ranks


def choose(found: Sequence[Sentence], matrix: TermMatrix, scores: Vector, wanted: int, max_tokens: int) -> list[int]:
    """Up to ``wanted`` sentences that fit into ``max_tokens`` together, in the text's order.

    Maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): each next sentence maximises
    0.7·score − 0.3·(greatest cosine with one already chosen), scores scaled to 1. A repetition is never chosen.
    """
    top = float(scores.max())
    relevance = scores / top if top > 0 else scores
    costs = np.array([estimate_tokens(sentence.text) + 1 for sentence in found], dtype=np.int64)
    redundancy = np.zeros(matrix.count)
    left = scores > 0
    room = max_tokens
    chosen: list[int] = []
    while len(chosen) < wanted and (left := left & (costs <= room)).any():
        marginal = np.where(left, _RELEVANCE_SHARE * relevance - (1 - _RELEVANCE_SHARE) * redundancy, -np.inf)
        best = int(np.argmax(marginal))
        chosen.append(best)
        room -= int(costs[best])
        redundancy = np.maximum(redundancy, matrix.similarity_to(best))
        left[best] = False
        left &= redundancy < _REPETITION
    return sorted(chosen)


def assemble(chosen: Sequence[Sentence], max_tokens: int, fallback: Sentence | None = None) -> Choice:
    """The chosen sentences as one text: prose runs on, items and lines keep lines of their own.

    With nothing chosen because nothing fits, the words with which ``fallback`` begins, as many as fit.
    """
    if not chosen and fallback is not None:
        return Choice((), _beginning(fallback.text, max_tokens))
    pieces: list[str] = []
    for before, sentence in zip([None, *chosen], chosen, strict=False):
        own_line = sentence.kind is not BlockKind.PARAGRAPH
        if before is not None:
            glue = "" if before.text.endswith(("。", "！", "？", "」")) else " "
            pieces.append("\n" if own_line or before.kind is not BlockKind.PARAGRAPH else glue)
        starts_item = sentence.kind is BlockKind.ITEM and (before is None or before.block != sentence.block)
        pieces.append(f"- {sentence.text}" if starts_item and len(chosen) > 1 else sentence.text)
    return Choice(tuple(chosen), "".join(pieces))


def _substance(found: Sequence[Sentence]) -> Vector:
    """Damps fragments: a sentence with fewer than five meaningful words says too little to stand alone."""
    sizes = np.array([len(terms(sentence.text)) for sentence in found], dtype=np.float64)
    return np.clip(sizes / _MIN_TERMS, 0.05, 1.0)


def _beginning(text: str, max_tokens: int) -> str:
    kept = ""
    for word in text.split():
        longer = f"{kept} {word}".strip()
        if estimate_tokens(longer) > max_tokens:
            break
        kept = longer
    return kept or text.split()[0]

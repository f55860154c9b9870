"""Whether what was found has to do with the question at all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final, TypeVar

ENOUGH: Final = 0.36
"""The share of a question's weight that a source must hold: two words of five."""
ENOUGH_OF_TWO: Final = 0.5
"""The same where a question has one or two words only: not the commoner one of two."""
SEVERAL: Final = 3
"""So many different words of a question in one source are no accident, where they are also ``MANY`` of its words."""
MANY: Final = 0.4

# What sentences are asked with, stemmed as full text search stems: it says nothing about their subject.
_ASKED_WITH: Final = """actual ani ask better call come current describ differ done even ever exact exampl explain give
go good happen help kind know list look make mani mean much need pleas possibl realli say see show someth still summar
summari take tell thing use want way work would"""
_ASKING: Final = frozenset(_ASKED_WITH.split())

Id = TypeVar("Id")


def fitting(question: Collection[str], matched: Mapping[Id, Sequence[str]]) -> frozenset[Id]:
    """The candidates that have to do with the question: enough of its weight, or several of its words.

    Words that questions are asked with ("happen", "explain") do not count, unless the question has no others. The
    second road is for questions in whole sentences, some of whose words no source holds.
    """
    wanted = set(question) - _ASKING or set(question)
    share = coverage(wanted, matched)
    enough = ENOUGH_OF_TWO if len(wanted) <= 2 else ENOUGH
    return frozenset(
        candidate
        for candidate, terms in matched.items()
        if share[candidate] >= enough or SEVERAL <= len(set(terms) & wanted) >= MANY * len(wanted)
    )


def coverage(question: Collection[str], matched: Mapping[Id, Sequence[str]]) -> dict[Id, float]:
    """The share of the question's terms that each candidate holds, in [0, 1], each term weighted by its rarity.

    The weight of a term is ln(1 + (N + 1)/(n + ½)), with N candidates of which n hold it: the smoothed inverse
    document frequency of Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009, 3.1),
    kept above 0. A term that no candidate holds weighs most: who asks for the capital of Mongolia is not answered by
    whatever mentions capitals.

    Args:
        question: the question's distinct terms.
        matched: which of these terms each candidate holds.
    """
    held = Counter(term for terms in matched.values() for term in set(terms))
    weights = {term: math.log(1.0 + (len(matched) + 1.0) / (held[term] + 0.5)) for term in set(question)}
    whole = sum(weights.values())
    if not whole:
        return dict.fromkeys(matched, 0.0)
    return {
        candidate: math.fsum(weights.get(term, 0.0) for term in set(terms)) / whole
        for candidate, terms in matched.items()
    }

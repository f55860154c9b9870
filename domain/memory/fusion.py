"""Reciprocal rank fusion: one order out of several rankings whose scores cannot be compared."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final, TypeVar

K: Final = 60
"""Damps the difference between neighbouring ranks; 60 is the value the source found robust."""

Item = TypeVar("Item", bound=Hashable)


def fuse(rankings: Sequence[Sequence[Item]], k: int = K) -> list[tuple[Item, float]]:
    """Every ranked item with its score, best first; equal scores keep the order in which items first appear.

    RRF(d) = Σ over rankings of 1/(k + rank(d)), ranks from 1 (Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion
    outperforms Condorcet and individual Rank Learning Methods", SIGIR 2009). It is given as a share of the greatest
    value possible, n/(k + 1) for n rankings: 1.0 is first in every ranking, and an item that half the rankings do not
    have stays at or below 0.5. The score orders results; it does not measure how near an item is to the question.

    Args:
        rankings: each best first; an item's repetition within one ranking counts at its best place only.
        k: at least 0.
    """
    sums: dict[Item, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(dict.fromkeys(ranking), start=1):
            sums[item] = sums.get(item, 0.0) + 1.0 / (k + rank)
    best = len(rankings) / (k + 1.0)
    order = sorted(sums.items(), key=lambda pair: -pair[1])
    return [(item, min(1.0, value / best)) for item, value in order]

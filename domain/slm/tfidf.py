"""Sparse TF-IDF vectors of a text's sentences, and the few products that ranking needs of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from somagent.domain.slm.words import terms

Vector = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TermMatrix:
    """Sentences by terms, each row of length 1 (or all zero), as coordinates sorted by row.

    The similarity matrix X·Xᵀ itself is never built: every product goes through X, so the cost is linear in the
    number of words, for a page as for a book.
    """

    vocabulary: dict[str, int]
    idf: Vector
    rows: Indices
    columns: Indices
    values: Vector
    starts: Indices

    @property
    def count(self) -> int:
        """The number of sentences."""
        return len(self.starts) - 1

    def term_weights(self, weights: Vector) -> Vector:
        """Xᵀ·w: how much of each term the weighted sentences hold."""
        return _sums(self.columns, self.values * weights[self.rows], len(self.vocabulary))

    def sentence_weights(self, term_weights: Vector) -> Vector:
        """X·t: how much of the weighted terms each sentence holds."""
        return _sums(self.rows, self.values * term_weights[self.columns], self.count)

    def squared_lengths(self) -> Vector:
        """The similarity of each sentence with itself: 1, or 0 where it has no term."""
        return _sums(self.rows, self.values**2, self.count)

    def similarity_to(self, sentence: int) -> Vector:
        """The cosine of every sentence with one of them."""
        row = slice(self.starts[sentence], self.starts[sentence + 1])
        term_weights = np.zeros(len(self.vocabulary))
        term_weights[self.columns[row]] = self.values[row]
        return self.sentence_weights(term_weights)

    def similarity_to_text(self, text: str) -> Vector:
        """The cosine of every sentence with another text, over the terms that the sentences know."""
        term_weights = np.zeros(len(self.vocabulary))
        for term, frequency in Counter(terms(text)).items():
            column = self.vocabulary.get(term)
            if column is not None:
                term_weights[column] = (1.0 + np.log(frequency)) * self.idf[column]
        norm = float(np.linalg.norm(term_weights))
        return self.sentence_weights(term_weights / norm) if norm else np.zeros(self.count)


def term_matrix(texts: Sequence[str]) -> TermMatrix:
    """Vectors with sublinear term frequency 1+ln(tf) and smoothed inverse sentence frequency ln((1+n)/(1+df))+1.

    Source: Manning, Raghavan, Schütze, "Introduction to Information Retrieval" (2008), 6.2 and 6.4.
    """
    counts = [Counter(terms(text)) for text in texts]
    frequency = Counter(term for count in counts for term in count)
    vocabulary = {term: column for column, term in enumerate(frequency)}
    seen_in = np.array([frequency[term] for term in vocabulary], dtype=np.float64)
    idf = np.log((1.0 + len(texts)) / (1.0 + seen_in)) + 1.0
    lengths = np.array([len(count) for count in counts], dtype=np.int64)
    starts = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    rows = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)
    columns = np.array([vocabulary[term] for count in counts for term in count], dtype=np.int64)
    raw = np.array([number for count in counts for number in count.values()], dtype=np.float64)
    values = (1.0 + np.log(raw)) * idf[columns] if raw.size else raw
    norms = np.sqrt(_sums(rows, values**2, len(texts)))
    return TermMatrix(vocabulary, idf, rows, columns, values / norms[rows] if raw.size else values, starts)


def _sums(places: Indices, weights: Vector, size: int) -> Vector:
    return np.bincount(places, weights=weights, minlength=size).astype(np.float64, copy=False)

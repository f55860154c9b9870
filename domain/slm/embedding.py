"""Embeddings without a model: feature hashing of words and character n-grams."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from somagent.domain.slm.words import STOPWORDS, stem, words

DIMENSION: Final = 384
_WORD: Final = 1.0
_FUNCTION_WORD: Final = 0.1
_PAIR: Final = 0.5
_GRAM: Final = 0.35
_GRAM_SIZES: Final = (3, 4, 5)

Matrix = NDArray[np.float64]


def embed(text: str) -> Matrix:
    """A vector of length 1 and dimension 384, the same in every process and on every machine.

    Features are stemmed words, pairs of neighbouring words and the words' character 3- to 5-grams, so that spelling
    variants and inflections stay near. Each feature, weighted by its kind and 1+ln(frequency), is added at a place
    and with a sign that its BLAKE2b hash gives (signed feature hashing: Weinberger et al., "Feature Hashing for Large
    Scale Multitask Learning", ICML 2009), which keeps dot products unbiased. A text without words is a feature itself.
    """
    vector = np.zeros(DIMENSION)
    for weight, features in _features(words(text)):
        for feature, frequency in Counter(features).items():
            place, sign = _place(feature)
            vector[place] += sign * weight * (1.0 + math.log(frequency))
    norm = float(np.linalg.norm(vector))
    if norm < 1e-12:
        place, sign = _place(f"text\0{text.strip()}")
        vector[place] = sign
        return vector
    return vector / norm


def embed_all(texts: Iterable[str]) -> list[list[float]]:
    """The vectors of several texts, as plain numbers for the wire."""
    return [[round(value, 9) for value in embed(text).tolist()] for text in texts]


def _features(tokens: Sequence[str]) -> Iterator[tuple[float, list[str]]]:
    content = [stem(token) for token in tokens if token not in STOPWORDS]
    yield _WORD, [f"w\0{token}" for token in content]
    yield _FUNCTION_WORD, [f"f\0{token}" for token in tokens if token in STOPWORDS]
    yield _PAIR, [f"p\0{left}\0{right}" for left, right in pairwise(content)]
    for size in _GRAM_SIZES:
        grams = [gram for token in content for gram in _grams(f"<{token}>", size)]
        yield _GRAM / math.sqrt(len(_GRAM_SIZES)), grams


def _grams(token: str, size: int) -> Iterator[str]:
    for start in range(len(token) - size + 1):
        yield f"c\0{token[start : start + size]}"


@lru_cache(maxsize=100_000)
def _place(feature: str) -> tuple[int, float]:
    value = int.from_bytes(hashlib.blake2b(feature.encode(), digest_size=8).digest(), "big")
    return (value >> 1) % DIMENSION, 1.0 if value & 1 else -1.0

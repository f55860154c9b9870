"""The words of a text as a reader would take them: tricks of spacing, signs and digits undone.

Words are read towards a vocabulary: ``3xpl01t``, ``ex-ploit``, ``e x p l o i t`` and ``exp loit`` become ``exploit``
where the vocabulary knows that word, and stay what they are where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from somagent.domain.moderation.lookalikes import plain
from somagent.domain.moderation.together import RunTogether

_PIECE: Final = re.compile(r"[^\W_]+")
_MARGIN: Final = "\"'`´‘’“”«»()[]{}<>,.;:!?*_~-–—=/\\|#"
_ENDS: Final = (".", "!", "?", ";")
_SIGNS: Final = str.maketrans("013456789@$!|€£+¢(i", "oleasgtbgaslleltccl")
"""Signs as the letters they stand for. ``1``, ``!`` and ``|`` stand for i and l, so both are compared as l."""
_THRICE: Final = re.compile(r"(.)\1\1+")
_LONGEST: Final = 40
_SHORTEST_JOINED: Final = 6
_SHORTEST_SPACED: Final = 4
_SENTENCE: Final = 3
"""How many words the end of a sentence counts for, when words stand near each other or not."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text, and where each stands: the end of a sentence counts as several words."""

    words: Sequence[str]
    places: Sequence[int]
    sentences: Sequence[int]


class Reader:
    """Reads texts towards a vocabulary."""

    def __init__(self, vocabulary: Collection[str], together: RunTogether | None = None) -> None:
        """``vocabulary``: lower-case Latin words; ``together``: phrases that are read without their spaces too."""
        self._together = together
        self._known = frozenset(vocabulary)
        self._by_shape = {_shape(word): word for word in self._known if len(word) > 2}
        lengths: dict[str, set[int]] = {}
        for shape in self._by_shape:
            lengths.setdefault(shape[:3], set()).add(len(shape))
        self._lengths = {start: sorted(found, reverse=True) for start, found in lengths.items()}

    def read(self, text: str) -> Words:
        """The words of ``text``. Linear in its length."""
        words: list[str] = []
        places: list[int] = []
        sentences: list[int] = []
        place = sentence = 0
        for word in self._spaced(self._apart(self._raw(plain(text)))):
            if word == ".":
                place += _SENTENCE
                sentence += 1
                continue
            words.append(word)
            places.append(place)
            sentences.append(sentence)
            place += 1
        return self._joined(Words(words, places, sentences))

    def _raw(self, text: str) -> Iterator[str]:
        """Words, and ``.`` for the end of a sentence."""
        for chunk in text.split():
            if chunk.isalpha():
                yield self._without_repeats(chunk)
                continue
            yield from self._pieces(chunk)
            if chunk.rstrip("\"')]}”’»").endswith(_ENDS):
                yield "."

    def _apart(self, words: Iterator[str]) -> Iterator[str]:
        """Phrases that were written as one word, as their words."""
        if self._together is None:
            yield from words
            return
        for word in words:
            yield from (word,) if word in self._known else self._together.parts(word)

    def _pieces(self, chunk: str) -> Iterator[str]:
        core = chunk.strip(_MARGIN)
        if core.isalpha():
            word = self._without_repeats(core)
            yield word if word in self._known else self._meant(chunk) or word
            return
        if (found := self._meant(core) or (self._meant(chunk) if chunk != core else None)) is not None:
            yield found
            return
        for piece in _PIECE.findall(core):
            yield piece if piece.isalpha() else self._meant(piece) or piece

    def _meant(self, chunk: str) -> str | None:
        """The known word that a chunk with signs and digits stands for, or only separates with them."""
        if len(chunk) > _LONGEST:
            return None
        letters = "".join(filter(str.isalpha, chunk))
        if len(letters) < 2:
            return None
        for shape in (_shape(chunk), _shape(letters)):
            for candidate in (shape, *_repeats(shape)):
                if (known := self._by_shape.get(candidate)) is not None:
                    return known
        return None

    def _without_repeats(self, word: str) -> str:
        """``expllloit`` is ``exploit``; an ordinary word is itself."""
        if word in self._known or not _THRICE.search(word):
            return word
        return next((shorter for shorter in _repeats(word) if shorter in self._known), word)

    def _spaced(self, words: Iterator[str]) -> Iterator[str]:
        """Letters that stand alone, put together to the known words they spell."""
        letters: list[str] = []
        for word in words:
            if len(word) == 1 and word != ".":
                letters.append(word)
                continue
            if letters:
                yield from self._spelt(letters)
                letters = []
            yield word
        yield from self._spelt(letters)

    def _spelt(self, letters: list[str]) -> Iterator[str]:
        if len(letters) < _SHORTEST_SPACED or all(map(str.isdigit, letters)):
            yield from letters
            return
        yield from list(self._cut(_shape("".join(letters)))) or letters

    def _cut(self, shape: str) -> Iterator[str]:
        """The known words in letters without spaces, the longest first at each place."""
        start = 0
        while start < len(shape):
            for length in self._lengths.get(shape[start : start + 3], ()):
                if (known := self._by_shape.get(shape[start : start + length])) is not None:
                    yield known
                    start += length
                    break
            else:
                start += 1

    def _joined(self, read: Words) -> Words:
        """``mal ware`` is ``malware``, where neither half is a known word."""
        words, known = read.words, self._known
        halves = [
            index
            for index in range(len(words) - 1)
            if words[index] not in known
            and words[index + 1] not in known
            and len(joined := words[index] + words[index + 1]) >= _SHORTEST_JOINED
            and joined in known
        ]
        if not halves:
            return read
        kept: list[str] = list(words)
        dropped: set[int] = set()
        for index in halves:
            if index not in dropped:
                kept[index] = words[index] + words[index + 1]
                dropped.add(index + 1)
        left = [index for index in range(len(words)) if index not in dropped]
        return Words(
            [kept[index] for index in left],
            [read.places[index] for index in left],
            [read.sentences[index] for index in left],
        )


def _shape(text: str) -> str:
    """Letters alone, signs read as letters; equal for what can be meant by the same signs."""
    return "".join(filter(str.isalpha, text.translate(_SIGNS)))


def _repeats(word: str) -> tuple[str, ...]:
    """The word with letters that stand there three times and more once, and twice."""
    if not _THRICE.search(word):
        return ()
    return _THRICE.sub(r"\1", word), _THRICE.sub(r"\1\1", word)

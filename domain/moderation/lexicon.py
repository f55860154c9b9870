"""From the categories' data to an answer: one walk over a prompt's words, linear in its length."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from somagent.domain.moderation.categories import CATEGORIES, GUARDS, TOGETHER, Category, Intent
from somagent.domain.moderation.screening import Flag, Gravity, Screening
from somagent.domain.moderation.together import RunTogether
from somagent.domain.moderation.words import Reader, Words

_GUARDED_WORDS: Final = 5
"""How far before a verb or a term a guard still counts."""
_NEARBY: Final = 4
"""How far before the verb and behind the object ``unless`` still counts."""

Phrase = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A term (without verbs), or an intent."""

    category: str
    gravity: Gravity
    unless: frozenset[str]
    between: frozenset[str]
    not_after: frozenset[str]
    window: int
    is_guarded: bool


@dataclass(frozen=True, slots=True)
class _Entry:
    """A phrase, and the pattern that it is the object or the term of."""

    phrase: Phrase
    pattern: int
    needs_verb: bool


class Lexicon:
    """Categories ready to be looked for."""

    def __init__(self, categories: Sequence[Category], guards: str, together: RunTogether | None = None) -> None:
        self._patterns: list[_Pattern] = []
        self._entries: dict[str, list[_Entry]] = {}
        self._verbs: dict[str, list[int]] = {}
        self._guards = frozenset(guards.split())
        for category in categories:
            self._add(category)
        words = {word for entries in self._entries.values() for entry in entries for word in entry.phrase}
        self._reader = Reader(words | self._verbs.keys() | self._guards, together)

    def screen(self, prompt: str) -> Screening:
        """The categories of a prompt."""
        return Screening.of([*_Walk(self._reader.read(prompt), self._patterns, self._entries, self._verbs,
                                    self._guards).flags()])  # fmt: skip

    def _add(self, category: Category) -> None:
        if category.terms:
            self._objects(category.terms, self._pattern(category, None), needs_verb=False)
        for intent in category.intents:
            pattern = self._pattern(category, intent)
            for verb in intent.verbs.split():
                self._verbs.setdefault(verb, []).append(pattern)
            self._objects(intent.objects, pattern, needs_verb=True)

    def _pattern(self, category: Category, intent: Intent | None) -> int:
        unless, between, not_after = (
            frozenset(words.split())
            for words in ((intent.unless, intent.between, intent.not_after) if intent else ("", "", ""))
        )
        gravity = (intent.gravity if intent else None) or category.gravity
        window = intent.window if intent else 0
        self._patterns.append(_Pattern(category.name, gravity, unless, between, not_after, window, category.is_guarded))
        return len(self._patterns) - 1

    def _objects(self, phrases: str, pattern: int, *, needs_verb: bool) -> None:
        for phrase in phrases.split(","):
            words = tuple(phrase.split())
            self._entries.setdefault(words[0], []).append(_Entry(words, pattern, needs_verb))


class _Walk:
    """One prompt, from its first word to its last."""

    def __init__(
        self,
        read: Words,
        patterns: Sequence[_Pattern],
        entries: Mapping[str, Sequence[_Entry]],
        verbs: Mapping[str, Sequence[int]],
        guards: frozenset[str],
    ) -> None:
        self._read = read
        self._patterns = patterns
        self._entries = entries
        self._verbs = verbs
        self._guards = guards
        self._verb_at: dict[int, int] = {}
        """The newest unguarded verb of each pattern, by its index."""
        self._found: dict[int, Flag] = {}
        self._guard_at = -1

    def flags(self) -> Iterable[Flag]:
        """One flag a pattern that was found."""
        for index, word in enumerate(self._read.words):
            if word in self._entries:
                self._look(index, word)
            if word in self._verbs:
                self._note_verb(index, word)
            if word in self._guards:
                self._guard_at = index
        return self._found.values()

    def _look(self, index: int, word: str) -> None:
        words = self._read.words
        for entry in self._entries[word]:
            if entry.pattern in self._found:
                continue
            length = len(entry.phrase)
            if length > 1 and tuple(words[index : index + length]) != entry.phrase:
                continue
            pattern = self._patterns[entry.pattern]
            verb_at = self._verb_at.get(entry.pattern) if entry.needs_verb else index
            if verb_at is None or self._distance(verb_at, index) > pattern.window:
                continue
            if not entry.needs_verb and pattern.is_guarded and self._is_guarded(index):
                continue
            if pattern.between and not pattern.between.isdisjoint(words[verb_at + 1 : index]):
                continue
            if pattern.unless and self._is_harmless(pattern.unless, verb_at, index + length):
                continue
            shown = entry.phrase if not entry.needs_verb else (words[verb_at], *entry.phrase)
            self._found[entry.pattern] = Flag(pattern.category, pattern.gravity, " ".join(shown))

    def _note_verb(self, index: int, word: str) -> None:
        guarded = self._is_guarded(index)
        before = self._read.words[index - 1] if index else ""
        for number in self._verbs[word]:
            pattern = self._patterns[number]
            if not (guarded and pattern.is_guarded) and before not in pattern.not_after:
                self._verb_at[number] = index

    def _distance(self, verb: int, thing: int) -> int:
        return self._read.places[thing] - self._read.places[verb]

    def _is_guarded(self, index: int) -> bool:
        guard, sentences = self._guard_at, self._read.sentences
        return guard >= 0 and index - guard <= _GUARDED_WORDS and sentences[guard] == sentences[index]

    def _is_harmless(self, unless: frozenset[str], start: int, end: int) -> bool:
        around = self._read.words[max(0, start - _NEARBY) : end + _NEARBY]
        return not unless.isdisjoint(around)


@lru_cache(maxsize=1)
def shipped() -> Lexicon:
    """The lexicon of the shipped categories."""
    return Lexicon(CATEGORIES, GUARDS, RunTogether(*TOGETHER))


def screen(prompt: str) -> Screening:
    """The categories that a prompt falls under. Linear in its length."""
    return shipped().screen(prompt)

"""A tenant's policy rules: what they match in a prompt, and how much that weighs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Annotated, ClassVar, Final, Self

import re2
from pydantic import Field, JsonValue, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from somagent.domain.canonical import sha256_hex
from somagent.domain.capsules.cel import compiled
from somagent.domain.capsules.cel_limits import CelError
from somagent.domain.model import JsonObject, Model
from somagent.domain.moderation.lookalikes import plain
from somagent.domain.moderation.words import Reader
from somagent.domain.policy.scoring import Amount, MatchedRule

RuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
MOST_RULES: Final = 500
_NAMES: Final = frozenset({"prompt", "role", "action", "tool", "capsule_id", "risk", "confidence", "metadata"})
_PATTERN_MEMORY: Final = 8 << 20
"""Bytes that one pattern may take; a larger one is refused when it is written."""


class RuleKind(StrEnum):
    """How a pattern is read."""

    PHRASE = "phrase"
    REGEX = "regex"


class Rule(Model):
    """What a rule matches, what it takes off the prompt's cleanliness, and whether it refuses by itself.

    Attributes:
        pattern: for ``phrase`` whole words in their order, compared as moderation compares them (look-alike letters,
            spacing, digits for letters; signs between words do not count); for ``regex`` RE2 syntax, upper and lower
            case alike, searched for in the prompt as it is and as it looks.
        condition: CEL over prompt, role, action, tool, capsule_id, risk, confidence and metadata. The rule matches
            where the pattern does and the condition holds; one that has no value counts as holding.
        weight: taken off the prompt's cleanliness of 1.
        hard: whether it refuses whatever the score.
    """

    name: RuleName
    kind: RuleKind = RuleKind.PHRASE
    pattern: Annotated[str, Field(min_length=1, max_length=1000)]
    condition: Annotated[str, Field(min_length=1, max_length=4000)] | None = None
    weight: Amount = 0.5
    hard: bool = False
    description: Annotated[str, Field(max_length=500)] = ""

    @field_validator("pattern")
    @classmethod
    def _can_be_matched(cls, pattern: str, info: ValidationInfo) -> str:
        if info.data.get("kind") is RuleKind.REGEX:
            _compiled(pattern)
        elif not Reader(()).read(pattern).words:
            raise _fault("a phrase needs a word; for signs alone write kind regex")
        return pattern

    @field_validator("condition")
    @classmethod
    def _can_be_evaluated(cls, condition: str | None) -> str | None:
        if condition is not None:
            _check_condition(condition)
        return condition


@dataclass(frozen=True, slots=True)
class Subject:
    """What rules look at: the text, and what is known of the act behind it."""

    prompt: str
    role: str | None = None
    action: str | None = None
    tool: str | None = None
    capsule_id: str | None = None
    risk: float = 0.0
    confidence: float = 1.0
    metadata: JsonObject = field(default_factory=dict)

    @property
    def names(self) -> dict[str, JsonValue]:
        """The names of a condition."""
        return {name: getattr(self, name) for name in _NAMES}


@dataclass(frozen=True)
class RuleSet:
    """Rules ready to be matched."""

    EMPTY: ClassVar[RuleSet]

    rules: tuple[Rule, ...]

    @classmethod
    def parse(cls, documents: Iterable[str]) -> RuleSet:
        """From the stored JSON of each rule."""
        return cls(tuple(Rule.model_validate_json(document) for document in documents))

    @cached_property
    def content_hash(self) -> str:
        """Hex SHA-256 over the rules: equal rules, equal hash."""
        return sha256_hex([rule.model_dump(mode="json") for rule in self.rules])

    @property
    def is_slow(self) -> bool:
        """Whether matching takes longer than an event loop should wait: conditions are evaluated in Python."""
        return any(rule.condition is not None for rule in self.rules)

    def matched(self, subject: Subject | str) -> tuple[MatchedRule, ...]:
        """The rules that match, in the order of their names. Linear in the length of the text."""
        if not self.rules:
            return ()
        asked = Subject(subject) if isinstance(subject, str) else subject
        texts = self._prepared.texts(asked.prompt)
        return tuple(
            MatchedRule(name=rule.name, weight=rule.weight, hard=rule.hard)
            for rule, matcher in zip(self.rules, self._prepared.matchers, strict=True)
            if matcher.found_in(texts) and _holds(rule.condition, asked)
        )

    @cached_property
    def _prepared(self) -> _Prepared:
        return _Prepared.of(self.rules)


RuleSet.EMPTY = RuleSet(())


@dataclass(frozen=True, slots=True)
class _Texts:
    """A prompt in every form that some rule looks at."""

    words: str
    raw: bytes
    plain: bytes


@dataclass(frozen=True, slots=True)
class _Phrase:
    words: str

    def found_in(self, texts: _Texts) -> bool:
        return self.words in texts.words


@dataclass(frozen=True, slots=True)
class _Regex:
    pattern: re2._Regexp

    def found_in(self, texts: _Texts) -> bool:
        return self.pattern.search(texts.raw) is not None or self.pattern.search(texts.plain) is not None


@dataclass(frozen=True, slots=True)
class _Prepared:
    reader: Reader | None
    matchers: Sequence[_Phrase | _Regex]
    has_regex: bool

    @classmethod
    def of(cls, rules: Sequence[Rule]) -> Self:
        phrases = {
            rule.name: list(Reader(()).read(rule.pattern).words) for rule in rules if rule.kind is RuleKind.PHRASE
        }
        reader = Reader({word for words in phrases.values() for word in words}) if phrases else None
        matchers = [
            _Phrase(f" {' '.join(phrases[rule.name])} ") if rule.name in phrases else _Regex(_compiled(rule.pattern))
            for rule in rules
        ]
        return cls(reader, matchers, len(phrases) < len(rules))

    def texts(self, prompt: str) -> _Texts:
        words = "" if self.reader is None else f" {' '.join(self.reader.read(prompt).words)} "
        raw = prompt.encode(errors="replace") if self.has_regex else b""
        return _Texts(words, raw, plain(prompt).encode() if self.has_regex else b"")


def _compiled(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        return re2.compile(pattern.encode(), options)
    except re2.error as error:
        raise _fault(f"it is not an RE2 expression: {_words(error)}") from None


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def _check_condition(condition: str) -> None:
    try:
        expression = compiled(condition)
    except CelError as error:
        raise _fault(f"it cannot be read: {error}") from None
    if expression.unknown_functions:
        raise _fault(f"CEL has no function {expression.unknown_functions[0]!r}")
    for mention in expression.mentions:
        if mention.name not in _NAMES:
            raise _fault(f"there is no {mention.name!r} in a condition, only {', '.join(sorted(_NAMES))}")


def _holds(condition: str | None, subject: Subject) -> bool:
    """A condition without a value here lets the rule match: whoever cannot tell is careful."""
    if condition is None:
        return True
    try:
        return compiled(condition).value(subject.names) is not False
    except CelError:
        return True


def _fault(message: str) -> PydanticCustomError:
    return PydanticCustomError("rule_invalid", "{message}", {"message": message})

"""Screening a prompt: which categories it falls under, by whole words, phrases, and a verb near its object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Self


class Gravity(IntEnum):
    """How grave a category is. Medium and more are refused; a low one passes with its warning."""

    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4

    @property
    def word(self) -> str:
        """As it is shown and kept: low, medium, high, critical."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Flag:
    """A category that a prompt falls under, and the term that showed it."""

    category: str
    gravity: Gravity
    term: str


@dataclass(frozen=True, slots=True)
class Screening:
    """Every category of a prompt, the gravest first, one flag each."""

    flags: tuple[Flag, ...]

    @classmethod
    def of(cls, flags: Sequence[Flag]) -> Self:
        """The gravest flag of each category."""
        gravest: dict[str, Flag] = {}
        for flag in flags:
            if flag.category not in gravest or flag.gravity > gravest[flag.category].gravity:
                gravest[flag.category] = flag
        return cls(tuple(sorted(gravest.values(), key=lambda flag: (-flag.gravity, flag.category))))

    @property
    def gravity(self) -> Gravity:
        """The gravest category's."""
        return self.flags[0].gravity if self.flags else Gravity.NONE

    @property
    def categories(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(flag.category for flag in self.flags)

    @property
    def terms(self) -> tuple[str, ...]:
        """What showed them, in the words of the lexicon."""
        return tuple(flag.term for flag in self.flags)

"""What one rendering of a template may use: steps, characters and time, counted while it runs."""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from somagent.domain.errors import Code, SomaError

MAX_STEPS = 200_000
"""Turns of loops and calls, over the whole rendering."""
MAX_CHARACTERS = 32 * 1024 * 1024
"""Characters (or list items) of every value made on the way, together."""
MAX_SECONDS = 1.0


@dataclass(slots=True)
class Meter:
    """Counts one rendering's work and ends it past a limit."""

    steps: int = 0
    characters: int = 0
    deadline: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)

    def step(self) -> None:
        """Count one turn of a loop or one call."""
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise _spent(f"it takes more than {MAX_STEPS:,} loop turns and calls")
        if self.steps % 64 == 0:
            self._look_at_the_clock()

    def make(self, size: int) -> None:
        """Count a value of ``size`` characters or items, before it is made."""
        self.characters += size
        if self.characters > MAX_CHARACTERS:
            raise _spent(f"it makes more than {MAX_CHARACTERS:,} characters on the way")
        self._look_at_the_clock()

    def _look_at_the_clock(self) -> None:
        if time.monotonic() > self.deadline:
            raise _spent(f"it takes more than {MAX_SECONDS:g} seconds")


_METER: ContextVar[Meter] = ContextVar("template_meter")


def start_meter() -> None:
    """Begin counting anew in this context."""
    _METER.set(Meter())


def meter() -> Meter:
    """The meter of the rendering under way."""
    return _METER.get()


def _spent(why: str) -> SomaError:
    return SomaError(Code.TEMPLATE_INVALID, f"The template was stopped: {why}. Make it do less.")

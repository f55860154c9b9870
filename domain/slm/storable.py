"""What every store and every wire of ours can hold: checked once, where a model's words come in."""

from __future__ import annotations

import math
import re
from typing import Final

from pydantic import JsonValue

from somagent.domain.errors import Code, SomaError

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_DEEPEST: Final = 64


def storable_text(text: str) -> str:
    """The text with U+FFFD for what neither UTF-8 nor Postgres can hold: lone surrogates and NUL."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def storable(value: JsonValue, depth: int = 0) -> JsonValue:
    """The value with each of its texts made storable.

    Raises:
        SomaError: SLM_INVALID_OUTPUT for a number that is not finite or more than 64 levels.
    """
    if depth > _DEEPEST:
        raise SomaError(Code.SLM_INVALID_OUTPUT, f"The model's value is nested deeper than {_DEEPEST} levels.")
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise SomaError(Code.SLM_INVALID_OUTPUT, "The model's value holds a number that is not finite.")
    if isinstance(value, list):
        return [storable(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {storable_text(name): storable(item, depth + 1) for name, item in value.items()}
    return value

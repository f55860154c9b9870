"""What stands before operators and filters of a template: it counts what they make, and refuses what has no bound."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

from somagent.adapters.tools.metering import meter
from somagent.domain.errors import Code, SomaError

_SIZED = (str, bytes, list, tuple, dict, set, frozenset, range)
_WIDEST = 1000
_MAX_EXPONENT = 64
_MAX_NUMBER_BITS = 4096
_WIDE_FORMAT = re.compile(r"\d{4,}|\*")


def _before_add(left: object, right: object) -> None:
    meter().make(_size(left) + _size(right))


def _before_multiply(left: object, right: object) -> None:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > _MAX_NUMBER_BITS:
            raise SomaError(Code.TEMPLATE_INVALID, "The template multiplies into a number that is too large.")
        return
    times = left if isinstance(left, int) else right if isinstance(right, int) else 1
    meter().make(max(times, 0) * max(_size(left), _size(right)))


def _before_power(left: object, right: object) -> None:
    if isinstance(right, int) and (
        abs(right) > _MAX_EXPONENT or (isinstance(left, int) and left.bit_length() * abs(right) > _MAX_NUMBER_BITS)
    ):
        raise SomaError(Code.TEMPLATE_INVALID, "The template raises a number to a power that is too large.")


def _before_modulo(left: object, _right: object) -> None:
    if isinstance(left, str) and _WIDE_FORMAT.search(left):
        raise SomaError(Code.TEMPLATE_INVALID, f"The template formats wider than {_WIDEST - 1} characters.")


BEFORE_BINOP: Mapping[str, Callable[[object, object], None]] = {
    "+": _before_add,
    "*": _before_multiply,
    "**": _before_power,
    "%": _before_modulo,
}


def _size(value: object) -> int:
    return len(value) if isinstance(value, _SIZED) else 1


def guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that counts what it takes and gives, and refuses what would grow without bound."""

    @wraps(function)  # keeps Jinja's marks for filters that want the context or the environment
    def counted(*args: Any, **kwargs: Any) -> Any:
        given = [*args, *kwargs.values()]
        counter = meter()
        counter.step()
        counter.make(_estimate(name, given))
        result = function(*args, **kwargs)
        counter.make(_size(result))
        return result

    return counted


def _estimate(name: str, given: Sequence[object]) -> int:
    """An upper bound for the characters that the filter makes, from its arguments' sizes."""
    texts = [value for value in given if isinstance(value, str)]
    widths = [value for value in given if isinstance(value, int) and not isinstance(value, bool)]
    if name in ("center", "indent", "batch", "slice", "tojson"):
        if any(abs(width) > _WIDEST for width in widths):
            raise SomaError(Code.TEMPLATE_INVALID, f"The filter {name!r} takes widths up to {_WIDEST}.")
        texts += [" " * abs(width) for width in widths]
    if name == "sum" and sum(isinstance(value, _SIZED) and not isinstance(value, str) for value in given) > 1:
        raise SomaError(Code.TEMPLATE_INVALID, "The filter 'sum' adds numbers only.")
    if name == "format" and any(_WIDE_FORMAT.search(text) for text in texts):
        raise SomaError(Code.TEMPLATE_INVALID, f"The template formats wider than {_WIDEST - 1} characters.")
    if name == "replace" and len(texts) == 3:
        return len(texts[0]) + texts[0].count(texts[1]) * len(texts[2])
    if name == "indent" and texts:
        return sum(map(len, texts)) + texts[0].count("\n") * max(map(len, texts[1:]), default=4)
    if name == "join":
        items = max(
            (len(value) for value in given if isinstance(value, _SIZED) and not isinstance(value, str)), default=0
        )
        return items * (max(map(len, texts), default=0) + 1)
    return sum(_size(value) for value in given if isinstance(value, _SIZED))

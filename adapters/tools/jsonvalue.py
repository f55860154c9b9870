"""Values from outside as JSON that every store of ours takes.

Postgres' jsonb takes neither null characters nor lone surrogates, and JSON knows no NaN. What holds one of these is
not parsed or not called text, instead of failing later where a step's result is stored.
"""

from __future__ import annotations

import json
from typing import NoReturn

from pydantic import JsonValue


def parse_json(text: str) -> JsonValue:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON, or holds what cannot be stored.
    """
    try:
        value: JsonValue = json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if "\\u" in text and not _storable(value):
        raise ValueError("holds characters that cannot be stored")
    return value


def printable(raw: bytes) -> str:
    """What a program printed, as text: bytes that are no UTF-8, and null characters, stand as U+FFFD."""
    return raw.decode(errors="replace").replace("\0", "\ufffd")


def _storable(value: JsonValue) -> bool:
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return "\\u0000" not in text.replace("\\\\", "")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")

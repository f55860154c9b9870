"""Values between JSON and Postgres, in both directions."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import asyncpg
from pydantic import JsonValue

from somagent.adapters.tools.jsonvalue import parse_json

_ARRAY = "[]"


def to_json(value: object) -> JsonValue:
    """A value that asyncpg gave, as JSON.

    A number stays one where JSON readers keep it exactly, else it becomes text (``numeric`` with more digits than a
    double, NaN, infinity). Times are RFC 3339, with ``Z`` where they have a zone; bytes are base64; a named record
    is an object, a row without names a list; what JSON has no form for is Postgres' own text or Python's.
    """
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return _number(value)
        case dt.datetime():
            return _time(value)
        case dt.date() | dt.time():
            return value.isoformat()
        case dt.timedelta():
            return _duration(value)
        case bytes():
            return base64.b64encode(value).decode()
        case asyncpg.Range():
            return _range(value)
        case asyncpg.Record():
            return to_json(dict(value))
        case dict():
            return {str(name): to_json(part) for name, part in value.items()}
        case list() | tuple() | set():
            return [to_json(part) for part in value]
        case _:
            return str(value)


def from_json(value: JsonValue, type_name: str) -> object:
    """A JSON value as what asyncpg wants for a parameter of the Postgres type ``type_name`` (``int4``, ``text[]``).

    Raises:
        ValueError: it does not fit.
    """
    if value is None:
        return None
    if type_name.endswith(_ARRAY):
        if not isinstance(value, list):
            raise ValueError(f"a list is wanted for {type_name}")
        return [from_json(part, type_name.removesuffix(_ARRAY)) for part in value]
    read: Callable[[Any], object] = _READERS.get(type_name, _as_is)
    try:
        return read(value)
    except (TypeError, ValueError, InvalidOperation, binascii.Error):
        raise ValueError(f"{str(value)[:80]!r} does not fit the type {type_name}") from None


def encode_document(value: object) -> str:
    """A json or jsonb parameter."""
    return json.dumps(value, allow_nan=False)


def decode_document(text: str) -> JsonValue:
    """A json or jsonb column; its text where it holds what cannot be stored again."""
    try:
        return parse_json(text)
    except ValueError:
        return text


def _as_is(value: Any) -> Any:
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if "\0" in value:
        raise ValueError
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _bytes(value: Any) -> bytes:
    return base64.b64decode(value, validate=True)


def _moment(value: Any) -> dt.datetime:
    moment = dt.datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


def _local_moment(value: Any) -> dt.datetime:
    moment = dt.datetime.fromisoformat(value)
    return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment


_READERS: Mapping[str, Callable[[Any], object]] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), _whole),
    **dict.fromkeys(("float4", "float8"), float),
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "unknown", "citext"), _text),
    "numeric": lambda value: Decimal(str(value)),
    "bool": _truth,
    "bytea": _bytes,
    "timestamptz": _moment,
    "timestamp": _local_moment,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "interval": lambda value: dt.timedelta(seconds=float(value)),
}


def _number(value: Decimal) -> JsonValue:
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value() and abs(value) <= 2**53:
        return int(value)
    nearest = float(value)
    return nearest if math.isfinite(nearest) and Decimal(repr(nearest)) == value else str(value)


def _time(value: dt.datetime) -> str:
    """Postgres' infinities come as the ends of Python's calendar."""
    moment = value.replace(tzinfo=dt.UTC)
    if moment == dt.datetime.max.replace(tzinfo=dt.UTC):
        return "infinity"
    if moment == dt.datetime.min.replace(tzinfo=dt.UTC):
        return "-infinity"
    if value.tzinfo is None:
        return value.isoformat(timespec="microseconds")
    return value.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _duration(value: dt.timedelta) -> str:
    """ISO 8601 with days and seconds: P1DT3600S; a negative one has its sign in front."""
    sign, size = ("-", -value) if value < dt.timedelta() else ("", value)
    seconds = Decimal(size.seconds) + Decimal(size.microseconds) / 1_000_000
    return f"{sign}P{size.days}DT{seconds.normalize():f}S"


def _range(value: asyncpg.Range[Any]) -> JsonValue:
    if value.isempty:
        return "empty"
    lower = "" if value.lower is None else to_json(value.lower)
    upper = "" if value.upper is None else to_json(value.upper)
    return f"{'[' if value.lower_inc else '('}{lower},{upper}{']' if value.upper_inc else ')'}"

"""Faults of shape: what the definition's models say, as paths a person can follow."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from somagent.domain.capsules.suggestions import shortened, suggestion
from somagent.domain.errors import Fault

MAX_DEPTH = 64
_MAX_INTEGER = 2**53 - 1
_MAX_FAULTS = 500

_CODES = {"missing": "missing_field", "extra_forbidden": "unknown_field"}
_NOT_ALLOWED = frozenset({"literal_error", "enum"})
_SHAPES = {
    "model_type": "an object",
    "dict_type": "an object",
    "tuple_type": "a list",
    "list_type": "a list",
    "string_type": "a string; YAML takes numbers and words such as yes, no, on, off for one only in quotes",
}
_BOUNDS = re.compile(r"greater_than|less_than|too_short|too_long|finite_number|multiple_of")


def path_text(location: Sequence[str | int], prefix: str = "") -> str:
    """``("workflow", "steps", 2, "id")`` as ``workflow.steps[2].id``."""
    text = prefix
    for part in location:
        if part == "[key]":  # pydantic's mark for a fault of the key itself
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def as_fault(error: ErrorDetails, prefix: str = "", names: Sequence[str] = ()) -> Fault:
    """One of pydantic's errors as a fault; ``names`` are the fields that an unknown one may have meant."""
    kind, path = error["type"], path_text(error["loc"], prefix)
    if kind == "extra_forbidden":
        return Fault(path, "unknown_field", _unknown_field(str(error["loc"][-1]), names))
    if kind == "missing":
        return Fault(path, "missing_field", "is required")
    return Fault(path, fault_code(kind), f"must be {_SHAPES[kind]}" if kind in _SHAPES else _sentence(error["msg"]))


def fault_code(kind: str) -> str:
    """Our stable name for one of pydantic's error types."""
    if kind in _CODES:
        return _CODES[kind]
    if kind in _NOT_ALLOWED:
        return "not_allowed"
    if kind == "string_pattern_mismatch":
        return "bad_format"
    if kind in ("value_error", "assertion_error"):
        return "invalid_value"
    return "out_of_range" if _BOUNDS.search(kind) else "wrong_type"


def model_faults(model: type[BaseModel], raw: object) -> list[Fault]:
    """Every fault of shape of ``raw`` against ``model``."""
    try:
        model.model_validate(raw)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)[:_MAX_FAULTS]
        return [as_fault(detail, names=_fields_at(model, detail["loc"][:-1])) for detail in _own(details)]
    return []


def _own(details: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Without lists that are "too short" only because pydantic left out their faulty entries."""
    inside = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    return (detail for detail in details if detail["type"] != "too_short" or detail["loc"] not in inside)


def json_faults(value: object, path: str = "", depth: int = 0) -> Iterator[Fault]:
    """What cannot be hashed by RFC 8785, or is nested too deeply to be walked safely."""
    if depth > MAX_DEPTH:
        yield Fault(path, "too_deep", f"is nested more than {MAX_DEPTH} levels deep")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield Fault(path, "wrong_type", f"has the key {key!r}, which is no string; put it in quotes")
                continue
            yield from _text_faults(key, path)
            yield from json_faults(item, f"{path}.{key}" if path else key, depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from json_faults(item, f"{path}[{index}]", depth + 1)
    elif isinstance(value, str):
        yield from _text_faults(value, path)
    elif value is not None and not isinstance(value, bool):
        yield from _number_faults(value, path)


def _text_faults(value: str, path: str) -> Iterator[Fault]:
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        yield Fault(path, "bad_format", "holds half of a surrogate pair, which is no Unicode text")


def _number_faults(value: object, path: str) -> Iterator[Fault]:
    if isinstance(value, float):
        if not math.isfinite(value):
            yield Fault(path, "out_of_range", "must be a finite number")
    elif not isinstance(value, int):
        yield Fault(path, "wrong_type", f"is a {type(value).__name__}, which JSON does not have; put it in quotes")
    elif abs(value) > _MAX_INTEGER:
        yield Fault(path, "out_of_range", "is beyond ±(2^53 - 1), where JSON numbers stop being exact; use a string")


def _unknown_field(name: str, names: Sequence[str]) -> str:
    return f"there is no field {shortened(name)!r}{suggestion(name, names) if names else ''}"


def _sentence(message: str) -> str:
    for prefix, instead in (("Value error, ", ""), ("Input should ", "must "), ("String should ", "must ")):
        if message.startswith(prefix):
            return instead + message.removeprefix(prefix)
    return message[:1].lower() + message[1:]


def _fields_at(model: type[BaseModel], location: Sequence[str | int]) -> tuple[str, ...]:
    """The names of the fields of the model that lies at ``location`` inside ``model``."""
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or current is None:
            continue
        field = current.model_fields.get(part)
        current = None if field is None else _model_in(field.annotation)
    return tuple(current.model_fields) if current is not None else ()


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(argument) for argument in getattr(annotation, "__args__", ()))
    return next((model for model in found if model is not None), None)

"""Whether a path leads to a field that an action's output has."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from somagent.domain.actions import ActionSpec


def missing_field(spec: ActionSpec, path: Sequence[str]) -> str | None:
    """Why ``path`` leads nowhere in the output of ``spec``, as the end of a sentence, or None where it may lead on."""
    return None if spec.open_output else _walk(spec.output, path, f"the output of {spec.name}")


def _walk(kind: Any, path: Sequence[str], where: str) -> str | None:
    kind = _bare(kind)
    if not path or not isinstance(kind, type):
        return None if not path else _walk_generic(kind, path, where)
    if issubclass(kind, BaseModel):
        return _walk_model(kind, path, where)
    if kind in (str, int, float, bool) or issubclass(kind, str):
        return f"{where} is a single value without fields"
    return None


def _walk_model(model: type[BaseModel], path: Sequence[str], where: str) -> str | None:
    for name, field in model.model_fields.items():
        if path[0] == (field.serialization_alias or field.alias or name):
            return _walk(field.annotation, path[1:], f"{where}'s {path[0]}")
    if model.model_config.get("extra") == "allow":
        return None
    return f"{where} has no field {path[0]!r}; it has {', '.join(sorted(model.model_fields))}"


def _walk_generic(kind: Any, path: Sequence[str], where: str) -> str | None:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        reasons = [_walk(member, path, where) for member in arguments if member is not type(None)]
        return None if None in reasons else next(iter(reasons), None)
    if origin in (list, tuple):
        if not path[0].isdigit():
            return f"{where} is a list; {path[0]!r} is no index"
        return _walk(arguments[0], path[1:], where)
    if origin in (dict, Mapping):
        return _walk(arguments[1], path[1:], where)
    return None


def _bare(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind

"""The type of what a reference names: whether an action's output has the field at all, and a sample of it."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue

from somagent.domain.actions import ActionSpec
from somagent.domain.capsules.definition import InputType

UNKNOWN: Final = object()
"""The type, or the sample, of what is known only when the job runs."""


class NoSuchFieldError(LookupError):
    """The path leads to nothing; the message is the end of a sentence."""


def missing_field(spec: ActionSpec, path: Sequence[str]) -> str | None:
    """Why ``path`` leads nowhere in the output of ``spec``, as the end of a sentence, or None where it may lead on."""
    try:
        output_type(spec, path)
    except NoSuchFieldError as error:
        return str(error)
    return None


def output_type(spec: ActionSpec, path: Sequence[str]) -> Any:
    """The annotation at ``path`` of an action's output, or UNKNOWN.

    Raises:
        NoSuchFieldError: there is no such field.
    """
    return UNKNOWN if spec.open_output else _at(spec.output, path, f"the output of {spec.name}")


def sample(kind: Any) -> Any:
    """A value of the annotation ``kind``, or UNKNOWN where any JSON fits."""
    kind = _bare(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return next((sample(member) for member in arguments if member is not types.NoneType), UNKNOWN)
    if origin is list:
        inner = sample(arguments[0])
        return [] if inner is UNKNOWN else [inner]
    if origin is Literal:
        return arguments[0]
    if origin is dict:
        return {}
    if isinstance(kind, type):
        return _sample_of_class(kind)
    return UNKNOWN


INPUT_SAMPLES: Mapping[str, JsonValue] = {
    InputType.STRING: "sample",
    InputType.TEXT: "A sample of text.",
    InputType.INTEGER: 1,
    InputType.NUMBER: 1.5,
    InputType.BOOLEAN: True,
    InputType.LIST: [],
    InputType.OBJECT: {},
}


def _sample_of_class(kind: type[Any]) -> Any:
    if issubclass(kind, BaseModel):
        fields = {name: sample(field.annotation) for name, field in kind.model_fields.items()}
        return {name: None if value is UNKNOWN else value for name, value in fields.items()}
    if issubclass(kind, enum.Enum):
        return next(iter(kind)).value
    return {str: "sample", int: 1, float: 1.5, bool: True}.get(kind, UNKNOWN)


def _at(kind: Any, path: Sequence[str], where: str) -> Any:
    kind = _bare(kind)
    if not path:
        return kind
    if not isinstance(kind, type):
        return _at_generic(kind, path, where)
    if issubclass(kind, BaseModel):
        return _at_model(kind, path, where)
    if kind in (str, int, float, bool) or issubclass(kind, str):
        raise NoSuchFieldError(f"{where} is a single value without fields")
    return UNKNOWN


def _at_model(model: type[BaseModel], path: Sequence[str], where: str) -> Any:
    for name, field in model.model_fields.items():
        if path[0] == (field.serialization_alias or field.alias or name):
            return _at(field.annotation, path[1:], f"{where}'s {path[0]}")
    if model.model_config.get("extra") == "allow":
        return UNKNOWN
    raise NoSuchFieldError(f"{where} has no field {path[0]!r}; it has {', '.join(sorted(model.model_fields))}")


def _at_generic(kind: Any, path: Sequence[str], where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _at_union([member for member in arguments if member is not types.NoneType], path, where)
    if origin in (list, tuple):
        if not path[0].isdigit():
            raise NoSuchFieldError(f"{where} is a list; {path[0]!r} is no index")
        return _at(arguments[0], path[1:], where)
    if origin in (dict, Mapping):
        return _at(arguments[1], path[1:], where)
    return UNKNOWN


def _at_union(members: Sequence[Any], path: Sequence[str], where: str) -> Any:
    reason: NoSuchFieldError | None = None
    for member in members:
        try:
            return _at(member, path, where)
        except NoSuchFieldError as error:
            reason = error
    if reason is not None:
        raise reason
    return UNKNOWN


def _bare(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind

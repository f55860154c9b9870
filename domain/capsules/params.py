"""Checking a step's params before anything runs: literal values strictly, references with patience.

For each action a second model is made from the action's own, in which every value may also be one reference alone (it
can become anything) and a text may hold references (its type is certain, its bounds are not).
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, Field, JsonValue, ValidationError, WrapValidator, create_model

from somagent.domain.actions import ActionSpec
from somagent.domain.capsules.references import alone
from somagent.domain.capsules.schema import as_fault, fault_code
from somagent.domain.errors import Fault

_UNKNOWN_UNTIL_RUN = frozenset({"bad_format", "out_of_range", "not_allowed"})


def params_faults(spec: ActionSpec, params: Mapping[str, JsonValue], path: str) -> list[Fault]:
    """What is wrong with ``params`` for the action, at paths below ``path``."""
    try:
        _tolerant_model(spec.params).model_validate_json(orjson.dumps(params), strict=True)
    except ValidationError as error:
        names = [field.alias or name for name, field in spec.params.model_fields.items()]
        return [as_fault(detail, path, names) for detail in error.errors(include_url=False, include_input=False)]
    return []


@lru_cache(maxsize=256)
def _tolerant_model(model: type[BaseModel]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind: Any = _tolerant(field.annotation)
        if field.metadata:
            kind = Annotated[(kind, *field.metadata)]
        again = (
            Field(default=field.default, alias=field.alias)
            if field.default_factory is None
            else Field(default_factory=field.default_factory, alias=field.alias)
        )
        fields[name] = (Annotated[kind, WrapValidator(_reference_or)], again)
    made: type[BaseModel] = create_model(model.__name__, __base__=model, **fields)
    return made


def _tolerant(kind: Any) -> Any:
    """``kind`` with references allowed at every depth."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return Annotated[(_tolerant(arguments[0]), *arguments[1:], WrapValidator(_reference_or))]
    if origin in (Union, types.UnionType):
        return Union[tuple(_tolerant(argument) for argument in arguments)]  # noqa: UP007  made at run time
    if origin in (list, dict) and arguments:
        return Annotated[origin[tuple(_tolerant(argument) for argument in arguments)], WrapValidator(_reference_or)]
    if isinstance(kind, type) and kind is not type(None):
        inner = _tolerant_model(kind) if issubclass(kind, BaseModel) else kind
        return Annotated[inner, WrapValidator(_reference_or)]
    return kind


def _reference_or(value: Any, validate: Callable[[Any], Any]) -> Any:
    if not isinstance(value, str) or "{{" not in value:
        return validate(value)
    if alone(value) is not None:
        return value
    try:
        return validate(value)
    except ValidationError as error:
        if all(fault_code(detail["type"]) in _UNKNOWN_UNTIL_RUN for detail in error.errors()):
            return value
        raise

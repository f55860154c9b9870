"""Checking what a job is given against what its capsule asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pydantic import JsonValue

from somagent.domain.capsules.definition import CapsuleDefinition, InputSpec, InputType
from somagent.domain.errors import Code, Fault, SomaError

_NAMES: dict[InputType, str] = {
    InputType.STRING: "a string",
    InputType.TEXT: "a string",
    InputType.INTEGER: "an integer",
    InputType.NUMBER: "a number",
    InputType.BOOLEAN: "true or false",
    InputType.LIST: "a list",
    InputType.OBJECT: "an object",
}


def fits(value: JsonValue, wanted: InputType) -> bool:
    """Whether ``value`` is of the type ``wanted``; a boolean is no integer, and 3.0 is none either."""
    if wanted in (InputType.STRING, InputType.TEXT):
        return isinstance(value, str)
    if wanted is InputType.BOOLEAN:
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if wanted is InputType.INTEGER:
        return isinstance(value, int)
    if wanted is InputType.NUMBER:
        return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return isinstance(value, list if wanted is InputType.LIST else dict)


def type_fault(path: str, value: JsonValue, wanted: InputType) -> Fault:
    """The fault of a value that is not of its input's type."""
    return Fault(path, "wrong_type", f"must be {_NAMES[wanted]}, and is {_described(value)}")


def check_inputs(definition: CapsuleDefinition, given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Every declared input with its value: the given one, else the default, else null.

    Raises:
        SomaError: INPUT_INVALID with every fault (``inputs.NAME``): unknown names, missing ones, wrong types.
    """
    declared = {spec.name: spec for spec in definition.inputs}
    faults = [
        Fault(f"inputs.{name}", "unknown_input", f"the capsule has no such input; it has {_listed(declared)}")
        for name in given
        if name not in declared
    ]
    values: dict[str, JsonValue] = {}
    for spec in definition.inputs:
        value = given.get(spec.name)
        fault = _input_fault(spec, spec.name in given, value)
        if fault is not None:
            faults.append(fault)
        values[spec.name] = spec.default if value is None else value
    if faults:
        count = "an input is" if len(faults) == 1 else f"{len(faults)} inputs are"
        raise SomaError(
            Code.INPUT_INVALID, f"The capsule {definition.id} cannot start: {count} wrong; see errors.", errors=faults
        )
    return values


def _input_fault(spec: InputSpec, is_given: bool, value: JsonValue) -> Fault | None:
    path = f"inputs.{spec.name}"
    if value is None:
        if not spec.required or spec.default is not None:
            return None
        if is_given:
            return type_fault(path, value, spec.type)
        return Fault(path, "missing_field", f"is required: {spec.description or _NAMES[spec.type]}")
    return None if fits(value, spec.type) else type_fault(path, value, spec.type)


def _described(value: JsonValue) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a number with a fraction" if math.isfinite(value) else "not a finite number"
    return "a list" if isinstance(value, list) else "an object"


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"

"""What a job is given, against what its capsule asks for."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.capsules.inputs import check_inputs
from somagent.domain.capsules.validation import parse_definition
from somagent.domain.errors import Code, SomaError
from somagent.tests.domain.capsules.examples import Raw, capsule, template_step


def _definition(*inputs: Raw) -> CapsuleDefinition:
    return parse_definition(capsule([template_step("a")], inputs=list(inputs)))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("string", ["", "x"], [1, True, [], {}]),
        ("text", ["a\nb"], [1.5]),
        ("integer", [0, -7, 2**40], [True, "1", 1.0, 1.5]),
        ("number", [0, 1.5], [False, "1.5", float("nan"), float("inf")]),
        ("boolean", [True, False], [0, 1, "true"]),
        ("list", [[], [1]], ["x", {}]),
        ("object", [{}, {"a": 1}], [[], "x"]),
    ],
)
def test_types(kind: str, good: list[JsonValue], bad: list[JsonValue]) -> None:
    definition = _definition({"name": "a", "type": kind, "required": True})
    for value in good:
        assert check_inputs(definition, {"a": value}) == {"a": value}
    for value in [*bad, None]:
        with pytest.raises(SomaError) as refused:
            check_inputs(definition, {"a": value})
        assert refused.value.code is Code.INPUT_INVALID
        assert [(fault.path, fault.code) for fault in refused.value.errors] == [("inputs.a", "wrong_type")]


def test_defaults_and_what_is_optional() -> None:
    definition = _definition({"name": "a", "default": "x"}, {"name": "b", "type": "list"}, {"name": "c", "default": ""})
    assert check_inputs(definition, {}) == {"a": "x", "b": None, "c": ""}
    assert check_inputs(definition, {"a": None, "c": "y"}) == {"a": "x", "b": None, "c": "y"}


def test_all_faults_at_once() -> None:
    definition = _definition({"name": "a", "required": True}, {"name": "b", "type": "integer"}, {"name": "c"})
    with pytest.raises(SomaError) as refused:
        check_inputs(definition, {"b": "1", "c": "fine", "d": 1, "e": 2})
    assert {fault.path: fault.code for fault in refused.value.errors} == {
        "inputs.a": "missing_field",
        "inputs.b": "wrong_type",
        "inputs.d": "unknown_input",
        "inputs.e": "unknown_input",
    }

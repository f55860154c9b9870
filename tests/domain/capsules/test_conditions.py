"""``when``: CEL over inputs and steps."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from somagent.domain.capsules.conditions import evaluate
from somagent.domain.errors import Code, SomaError

_INPUTS: dict[str, JsonValue] = {"n": 3, "x": 2.5, "name": "it's", "flag": True, "list": [1, 2], "none": None, "k": "z"}
_INPUTS["long"] = list(range(1, 500))
_OUTPUTS: dict[str, JsonValue] = {
    "list": {"entries": [{"path": "a.md", "bytes": 20}]},
    "a-b": {"map": {"z": 1}},
    "big": {"number": 2**70},
}


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("true", True),
        ("inputs.n == 3 && inputs.x < 3", True),
        ("inputs.n > inputs.x", True),
        ("inputs.n >= 3.0 && 3.0 == inputs.n && inputs.n != 3.5", True),
        ('inputs.name == "it\'s"', True),
        ("!inputs.flag", False),
        ("inputs.none == null", True),
        ("2 in inputs.list", True),
        ("size(inputs.list) == 2 && inputs.list.size() == 2", True),
        ("inputs.name.startsWith('it')", True),
        ("inputs.name.matches('^[a-z]+$')", False),
        ("has(inputs.n) && !has(inputs.other)", True),
        ("steps.list.output.entries.exists(e, e.bytes > 10.5)", True),
        ("steps.list.output.entries.all(e, e.path.endsWith('.md') && e.bytes > inputs.n)", True),
        ("steps['a-b'].output.map[inputs.k] == 1", True),
        ("steps.gone.output == null", True),
        ("has(steps.gone.output) ? steps.gone.output == null : false", True),
        ("inputs.n == 4 ? inputs.none.x == 1 : true", True),
        ("steps.big.output.number > 1", True),
        ("steps.exists(s, s == 'list')", True),
    ],
)
def test_conditions(when: str, holds: bool) -> None:
    assert evaluate(when, _INPUTS, _OUTPUTS, frozenset({"gone"})) is holds


@pytest.mark.parametrize(
    "when",
    [
        "inputs.n",
        "inputs.other == 1",
        "inputs.name > 3",
        "inputs.none.x == 1",
        "steps.nobody.output == null",
        "steps.gone.output.x == 1",
        "1 / 0 == 1",
        "launch(1)",
        "nobody == 1",
        "1 +",
        "",
        "(" * 2000 + "true" + ")" * 2000,
        "'a'.matches('(')",
        "'" + "\\" * 40,
        "'a" + "\r" * 40,
        "true || " * 1000 + "true",
        "['aaaaaaaa']" + ".map(b, b + b)" * 60 + " == []",
        "inputs.long.all(a, inputs.long.all(b, inputs.long.all(c, a + b + c > 0)))",
    ],
)
def test_conditions_without_a_truth_value(when: str) -> None:
    with pytest.raises(SomaError) as failed:
        evaluate(when, _INPUTS, _OUTPUTS, frozenset({"gone"}))
    assert failed.value.code is Code.CONDITION_INVALID
    assert len(failed.value.detail) < 1000
    assert repr(when)[1:20] in failed.value.detail


def test_a_skipped_steps_output_may_also_be_given_as_null() -> None:
    assert evaluate("steps.a.output == null", {}, {"a": None})

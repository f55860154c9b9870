"""References: parsing, resolving, and that nothing a person types is resolved or run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from somagent.adapters.tools.template import render
from somagent.domain.capsules.references import MalformedReferenceError, Reference, alone, resolve, split
from somagent.domain.capsules.stepparams import resolve_params
from somagent.domain.errors import Code, SomaError

_INPUTS: dict[str, JsonValue] = {"text": "hi", "n": 3, "flag": True, "none": None, "list": [1, "b"], "o": {"a.b": 1}}
_OUTPUTS: dict[str, JsonValue] = {"read": {"entries": [{"path": "x.md"}], "0": "zero"}, "a-b": {"text": "t"}}


@pytest.mark.parametrize(
    ("value", "resolved"),
    [
        ("{{ inputs.n }}", 3),
        ("{{inputs.n}}", 3),
        ("  {{\n inputs.n \t}}  ", 3),
        ("{{ inputs.flag }}", True),
        ("{{ inputs.none }}", None),
        ("{{ inputs.list }}", [1, "b"]),
        ("{{ steps.read.output }}", _OUTPUTS["read"]),
        ("{{ steps.read.output.entries.0.path }}", "x.md"),
        ("{{ steps.read.output.entries[0].path }}", "x.md"),
        ("{{ steps.read.output['entries'][0][\"path\"] }}", "x.md"),
        ("{{ steps.read.output.0 }}", "zero"),
        ("{{ inputs.o['a.b'] }}", 1),
        ("{{ steps.a-b.output.text }}", "t"),
        ("n={{ inputs.n }}, {{ inputs.text }}", "n=3, hi"),
        ("{{ inputs.list }} {{ inputs.flag }} {{ inputs.none }}", '[1,"b"] true null'),
        ("{{ inputs.text }}{{ inputs.text }}", "hihi"),
        ("} and }} stay", "} and }} stay"),
        ({"a": ["{{ inputs.n }}", {"{{ inputs.n }}": "{{ inputs.text }}"}]}, {"a": [3, {"{{ inputs.n }}": "hi"}]}),
        (7, 7),
    ],
)
def test_resolving(value: JsonValue, resolved: JsonValue) -> None:
    assert resolve(value, _INPUTS, _OUTPUTS) == resolved


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{{ inputs.other }}", "no input 'other'; there is flag"),
        ("{{ steps.other.output }}", "step 'other' has no output"),
        ("{{ steps.read.output.text }}", "steps.read.output has no field 'text'; there is 0, entries"),
        ("{{ steps.read.output.entries.1.path }}", "list of 1, without index 1"),
        ("{{ steps.read.output.entries.last }}", "'last' is no index"),
        ("{{ inputs.text.x }}", "inputs.text is a text"),
        ("{{ inputs.none.x }}", "inputs.none is null"),
        ("a {{ inputs.none.x }}", "inputs.none is null"),
        ("{{ inputs.text", "does not close"),
        ("{{ nothing }}", "no reference"),
    ],
)
def test_what_names_nothing_says_what_there_was(value: JsonValue, why: str) -> None:
    with pytest.raises(SomaError, match=why.replace(".", r"\.")) as failed:
        resolve(value, _INPUTS, _OUTPUTS)
    assert failed.value.code is Code.REFERENCE_UNRESOLVED


def test_a_skipped_step_gives_null_and_nothing_inside_a_text() -> None:
    value: JsonValue = ["{{ steps.gone.output.deep.er }}", "<{{ steps.gone.output.x }}>"]
    assert resolve(value, {}, {}, frozenset({"gone"})) == [None, "<>"]
    assert resolve(value, {}, {"gone": None}, frozenset({"gone"})) == [None, "<>"]


@given(st.text())
def test_what_a_person_typed_is_never_expanded(typed: str) -> None:
    inputs: dict[str, JsonValue] = {"typed": typed, "secret": "s3cret"}
    assert resolve("{{ inputs.typed }}", inputs, {}) == typed
    assert resolve("<{{ inputs.typed }}>", inputs, {}) == f"<{typed}>"


@given(st.text(alphabet="{}%#- inputs.secretvalue_raw|'\"\n", max_size=40))
def test_what_a_person_typed_is_never_run_as_a_template(typed: str) -> None:
    inputs: dict[str, JsonValue] = {"typed": typed, "secret": "s3cret"}
    for template in ("{{ inputs.typed }}", "<{{ inputs.typed }}>{{ v }}", "{% if inputs.typed %}{% endif %}"):
        params = resolve_params(
            "text.template", {"template": template, "values": {"v": "{{ inputs.typed }}"}}, inputs, {}
        )
        assert isinstance(params["template"], str)
        assert isinstance(params["values"], dict)
        text = render(params["template"], params["values"])
        assert text == template.replace("{{ inputs.typed }}", typed).replace("{{ v }}", typed) or template[1] == "%"


def test_a_template_sees_references_values_and_whole_outputs() -> None:
    template = (
        "{{ inputs.text|upper }} {{ steps.a-b.output.text }} {{- inputs.n -}} "
        "{% for e in steps.read.output.entries %}{{ e.path }};{% endfor %} {{ v }} {{ inputs.list }}"
    )
    values: JsonValue = {"v": "{{ inputs.n }}"}
    params = resolve_params("text.template", {"template": template, "values": values}, _INPUTS, _OUTPUTS)
    assert isinstance(params["template"], str)
    assert isinstance(params["values"], dict)
    assert render(params["template"], params["values"]) == 'HI t3x.md; 3 [1,"b"]'


def test_a_template_can_ask_whether_a_step_was_skipped() -> None:
    template = "{% if steps.gone.output %}yes{% else %}no{% endif %}{{ steps.gone.output.text }}"
    params = resolve_params("text.template", {"template": template}, {}, {}, frozenset({"gone"}))
    assert isinstance(params["template"], str)
    assert isinstance(params["values"], dict)
    assert render(params["template"], params["values"]) == "no"


@pytest.mark.parametrize("text", ["{{ inputs.a }}", " {{ steps.b.output.c }} "])
def test_one_reference_alone(text: str) -> None:
    assert isinstance(alone(text), Reference)


@pytest.mark.parametrize("text", ["", "x", "{{ a }}", "{{ inputs.a }}{{ inputs.b }}", "x{{ inputs.a }}", "{{ inputs.a"])
def test_not_one_reference_alone(text: str) -> None:
    assert alone(text) is None


@given(st.text(alphabet="{}. inputs[]'\"0a", max_size=60))
def test_splitting_gives_the_text_back_or_says_why_not(text: str) -> None:
    try:
        pieces = split(text)
    except MalformedReferenceError:
        assert "{{" in text
        return
    assert "".join(piece for piece in pieces if isinstance(piece, str)) in text or pieces
    if "{{" not in text:
        assert pieces == ((text,) if text else ())

"""JSON Schemas: refused when unusable, filled only from what the text says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somagent.domain.errors import Code, SomaError
from somagent.domain.slm.facts import key_of, read_facts
from somagent.domain.slm.material import Material
from somagent.domain.slm.schemas import check_schema, faults_of, is_risky
from somagent.domain.slm.structured import fill

INCIDENT = """# Payments down

Service: payments
Severity: **high**
Failed payments: 1,204
Error rate = 12.5 %
Resolved: yes
Teams: billing, platform; support

At 10:00 the payment service began to fail. The cause was an expired certificate. Dr. Meier renewed it at 10:40.

Actions:
- Renew certificates automatically
- Alert 14 days before expiry

| Phase name | Minutes |
|------------|--------:|
| detect     | 12      |
| fix        | 28      |
"""


def filled(
    properties: dict[str, Any], *, required: list[str] | None = None, text: str = INCIDENT, definitions: Any = None
) -> Any:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": required or list(properties)}
    schema["$defs"] = definitions or {}
    return fill(schema, Material("What was the cause?", text), 200)


@pytest.mark.parametrize(
    ("name", "schema", "value"),
    [
        ("service", {"type": "string"}, "payments"),
        ("severity", {"enum": ["low", "medium", "high"]}, "high"),
        ("failedPayments", {"type": "integer"}, 1204),
        ("failed_payments", {"type": "number"}, 1204),
        ("error_rate", {"type": "number"}, 12.5),
        ("resolved", {"type": "boolean"}, True),
        ("teams", {"type": "array", "items": {"type": "string"}}, ["billing", "platform", "support"]),
        ("actions", {"type": "array"}, ["Renew certificates automatically", "Alert 14 days before expiry"]),
        ("title", {"type": "string"}, "Payments down"),
        ("answer", {"type": "string"}, "The cause was an expired certificate."),
        ("owner", {"type": ["string", "null"]}, None),
        ("owner", {"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        ("kind", {"const": "incident"}, "incident"),
        ("service", {"$ref": "#/$defs/name"}, "payments"),
        (
            "phases",
            {
                "type": "array",
                "items": {"properties": {"phase_name": {"type": "string"}, "minutes": {"type": "integer"}}},
            },
            [{"phase_name": "detect", "minutes": 12}, {"phase_name": "fix", "minutes": 28}],
        ),
    ],
)
def test_read_off_the_text(name: str, schema: dict[str, Any], value: Any) -> None:
    assert filled({name: schema}, definitions={"name": {"type": "string"}}) == {name: value}


def test_summary_and_keywords_by_meaning() -> None:
    value = filled(
        {"summary": {"type": "string"}, "keywords": {"type": "array", "items": {"type": "string"}, "maxItems": 2}}
    )
    assert value["summary"]
    assert len(value["keywords"]) == 2


def test_optional_and_unsaid_is_left_out_or_its_default() -> None:
    value = filled(
        {"service": {"type": "string"}, "owner": {"type": "string"}, "region": {"default": "eu"}}, required=["service"]
    )
    assert value == {"service": "payments", "region": "eu"}


def test_json_in_the_text_is_taken_as_it_stands() -> None:
    text = 'The result is:\n```json\n{"owner": "Ada", "tries": [1, 2]}\n```\nand nothing else.'
    schema = {"owner": {"type": "string"}, "tries": {"type": "array", "items": {"type": "integer"}}}
    assert filled(schema, text=text) == {"owner": "Ada", "tries": [1, 2]}


@pytest.mark.parametrize(
    "properties",
    [
        {"budget": {"type": "number"}},
        {"severity": {"enum": ["blue", "green"]}},
        {"service": {"type": "string", "maxLength": 3}},
        {"service": {"type": "integer"}},
        {"risks": {"type": "array", "items": {"type": "object", "properties": {"risk": {"type": "string"}}}}},
        {"nested": {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}},
        {"loop": {"$ref": "#/properties/loop"}},
    ],
)
def test_what_the_text_does_not_say_is_refused(properties: dict[str, Any]) -> None:
    with pytest.raises(SomaError) as raised:
        filled(properties)
    assert (raised.value.code, raised.value.retryable) == (Code.SLM_INVALID_OUTPUT, False)
    assert raised.value.errors
    assert "SLM_BASE_URL" in raised.value.detail


names = st.sampled_from(["service", "severity", "budget", "summary", "actions", "answer", "failed payments", "x"])
kinds = st.sampled_from(["string", "integer", "number", "boolean", "array"])


@settings(deadline=None)
@given(st.dictionaries(names, kinds, max_size=5), st.text(max_size=200) | st.just(INCIDENT))
def test_a_value_meets_the_schema_and_stands_in_the_text(kind_of: dict[str, str], text: str) -> None:
    properties = {name: {"type": kind} for name, kind in kind_of.items()}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": list(kind_of)}
    try:
        value = fill(schema, Material("", text), 100)
    except SomaError as error:
        assert error.code is Code.SLM_INVALID_OUTPUT  # noqa: PT017 -- both outcomes are right
        return
    assert faults_of(value, schema) == []
    assert isinstance(value, dict)
    squeezed = "".join(text.split())
    for said in value.values():
        if isinstance(said, str):
            assert all("".join(part.split()) in squeezed for part in said.replace("- ", "").split("\n"))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "https://example.com/schema.json"},
        {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"pattern": "(a+)+$"},
        {"pattern": "^(a|a)*$"},
        {"pattern": r"(.)\1"},
        {"patternProperties": {"((ab)*c)*": {}}},
        {"pattern": "("},
        {"enum": [{"n": n} for n in range(6_000)]},
    ],
)
def test_unusable_schema(schema: dict[str, Any]) -> None:
    with pytest.raises(SomaError) as raised:
        check_schema(schema)
    assert raised.value.code is Code.PARAMS_INVALID
    assert raised.value.errors


@pytest.mark.parametrize(
    "pattern", ["^[a-z]+(-[a-z]+)*$", "^(foo|bar)$", r"^\d{4}-\d\d-\d\d$", "^(abc)+$", "^(?:x){2,3}$"]
)
def test_common_patterns_are_usable(pattern: str) -> None:
    assert not is_risky(pattern)
    check_schema({"type": "string", "pattern": pattern})


def test_faults_name_their_places() -> None:
    properties = {"a": {"type": "integer"}, "b": {"minItems": 1}}
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": ["a", "c"]}
    assert [fault.path for fault in faults_of({"a": "x", "b": []}, schema)] == ["$", "$.a", "$.b"]
    assert faults_of({"a": 1, "c": 2}, schema) == []


def test_facts() -> None:
    facts = read_facts(INCIDENT)
    assert key_of("dueDate") == key_of("due_date") == key_of("Due dates")
    assert dict(facts.pairs)[key_of("failed payments")] == "1,204"
    assert facts.title == "Payments down"

"""Faults of a definition: all at once, each at its path."""

from __future__ import annotations

import pytest

from somagent.domain.capsules.validation import definition_faults, parse_definition
from somagent.domain.errors import Code, SomaError
from somagent.tests.domain.capsules.examples import Raw, capsule, fault, faults_at, template_step, ticket_digest


def test_the_contracts_example_is_a_capsule() -> None:
    definition = parse_definition(ticket_digest())
    assert definition.id == "ticket_digest"
    assert [step.id for step in definition.steps] == ["list", "read", "sum", "write", "count"]
    assert definition.steps[2].retry is not None
    assert definition.policies.budget_tokens == 6000


def test_a_field_that_the_output_does_not_have_is_a_fault_at_its_path() -> None:
    raw = ticket_digest()
    raw["outputs"]["words"] = "{{ steps.count.output.value }}"
    found = fault(raw, "outputs.words")
    assert found.code == "reference_field_unknown"
    assert "parts" in found.detail


def test_every_fault_is_told_at_once() -> None:
    raw = ticket_digest()
    steps = raw["workflow"]["steps"]
    raw["version"] = "1.2"
    raw["sumary"] = raw.pop("summary")
    raw["tools"] = raw["tools"][:2]
    steps[0]["params"] = {"pth": "x"}
    steps[1]["needs"] = ["count"]
    steps[2]["params"]["max_tokens"] = "400"
    steps[3]["when"] = "steps.nowhere.output == 1"
    steps[4]["params"]["text"] = "{{ inputs.nothing }}"
    with pytest.raises(SomaError) as refused:
        parse_definition(raw)
    assert refused.value.code is Code.CAPSULE_INVALID
    assert {entry.path: entry.code for entry in refused.value.errors} == {
        "summary": "missing_field",
        "sumary": "unknown_field",
        "version": "bad_format",
        "workflow.steps[0].params.pth": "unknown_field",
        "workflow.steps[1].needs": "dag_cycle",
        "workflow.steps[2].params.max_tokens": "wrong_type",
        "workflow.steps[3].when": "reference_unknown",
        "workflow.steps[4].action": "tool_undeclared",
        "workflow.steps[4].params.text": "reference_unknown",
    }


@pytest.mark.parametrize("raw", [None, [], "x", 7, {}, {"workflow": 3}, {"workflow": {"steps": [None, 4, []]}}])
def test_nonsense_is_refused_and_does_not_crash(raw: object) -> None:
    assert definition_faults(raw)


@pytest.mark.parametrize(
    ("change", "path", "code"),
    [
        ({"id": "1x"}, "id", "bad_format"),
        ({"id": "x" * 129}, "id", "bad_format"),
        ({"id": 5}, "id", "wrong_type"),
        ({"version": "v1.0.0"}, "version", "bad_format"),
        ({"version": 1.0}, "version", "wrong_type"),
        ({"type": "molecular"}, "type", "not_allowed"),
        ({"workflow": None}, "workflow", "missing_field"),
        ({"workflow": {"steps": []}}, "workflow.steps", "out_of_range"),
        ({"policies": {"budget_tokens": "6000"}}, "policies.budget_tokens", "wrong_type"),
        ({"policies": {"budget_tokens": -1}}, "policies.budget_tokens", "out_of_range"),
        ({"policies": {"approvals": {"quorum": 0}}}, "policies.approvals.quorum", "out_of_range"),
        ({"policies": {"requires_review": 1}}, "policies.requires_review", "wrong_type"),
        ({"persona": {"name": "a", "trait": []}}, "persona.trait", "unknown_field"),
        ({"outputs": {"a b": 1}}, "outputs.a b", "bad_format"),
        ({"inputs": [{"name": "a", "type": "string", "default": 5}]}, "inputs[0].default", "wrong_type"),
        ({"inputs": [{"name": "a", "type": "integer", "default": True}]}, "inputs[0].default", "wrong_type"),
        ({"inputs": [{"name": "a"}, {"name": "a"}]}, "inputs[1].name", "duplicate"),
        ({"inputs": [{"name": "a", "type": "date"}]}, "inputs[0].type", "not_allowed"),
        ({"tools": [{"adapter": "teleport", "actions": ["go"]}]}, "tools[0].adapter", "unknown_adapter"),
        ({"tools": [{"adapter": "text", "actions": ["templte"]}]}, "tools[0].actions[0]", "unknown_action"),
        ({"tools": [{"adapter": "text", "actions": ["text.template"]}]}, "tools[0].actions[0]", "unknown_action"),
        ({"tools": []}, "workflow.steps[0].action", "tool_undeclared"),
        ({"type": "composite"}, "workflow.steps", "composite_without_child"),
        ({"outputs": {"x": float("nan")}}, "outputs.x", "out_of_range"),
        ({"outputs": {"x": 2**53}}, "outputs.x", "out_of_range"),
        ({"outputs": {"x": "\ud800"}}, "outputs.x", "bad_format"),
    ],
)
def test_faults_of_the_whole(change: Raw, path: str, code: str) -> None:
    found = faults_at(capsule([template_step("a")], **change))
    assert found.get(path) == code, found


@pytest.mark.parametrize(
    ("step", "path", "code"),
    [
        ({"id": "é"}, "id", "bad_format"),
        ({"action": "text.templte"}, "action", "unknown_action"),
        ({"params": []}, "params", "wrong_type"),
        ({"needs": "a"}, "needs", "wrong_type"),
        ({"needs": ["zz"]}, "needs[0]", "unknown_step"),
        ({"needs": ["b"]}, "needs", "dag_cycle"),
        ({"retry": {"max_attempts": 0}}, "retry.max_attempts", "out_of_range"),
        ({"retry": {"backoff_seconds": -1}}, "retry.backoff_seconds", "out_of_range"),
        ({"timeout_seconds": "5"}, "timeout_seconds", "wrong_type"),
        ({"timeout_seconds": float("inf")}, "timeout_seconds", "out_of_range"),
        ({"requires_approval": "yes"}, "requires_approval", "wrong_type"),
        ({"save_as": "../x"}, "save_as", "bad_format"),
        ({"save_as": "a/b"}, "save_as", "bad_format"),
        ({"save_as": ".hidden"}, "save_as", "bad_format"),
        ({"save_as": "a.txt"}, "save_as", "duplicate"),
        ({"retires": 1}, "retires", "unknown_field"),
        ({"when": "{{ inputs.x }}"}, "when", "condition_invalid"),
        ({"when": "1 +"}, "when", "condition_invalid"),
        ({"when": "nobody == 1"}, "when", "condition_invalid"),
        ({"when": "launch(1)"}, "when", "condition_invalid"),
        ({"when": "steps.a.text == ''"}, "when", "condition_invalid"),
        ({"when": "inputs.zz == 1"}, "when", "reference_unknown"),
        ({"when": "steps.a.output.value == ''"}, "when", "reference_field_unknown"),
        ({"when": "steps.c.output.text == ''"}, "needs", "dag_cycle"),
        ({"params": {"template": "{{ steps.c.output.text }}"}}, "needs", "dag_cycle"),
        ({"params": {"template": "{{ steps.b.output.text }}"}}, "params.template", "reference_to_itself"),
        ({"when": "steps.b.output.text == ''"}, "when", "reference_to_itself"),
        ({"params": {"template": "{% if %}"}}, "params.template", "template_invalid"),
        ({"params": {"template": "{{ steps.zz.output.x | upper }}"}}, "params.template", "reference_unknown"),
        ({"params": {"template": 5}}, "params.template", "wrong_type"),
        ({"params": {}}, "params.template", "missing_field"),
        ({"params": {"template": "x", "values": {"a": "{{ inputs.zz }}"}}}, "params.values.a", "reference_unknown"),
        ({"params": {"template": "x", "values": {"a": ["{{ oops }}"]}}}, "params.values.a[0]", "reference_malformed"),
        ({"params": {"template": "x", "values": {"a": "{{ inputs.x"}}}, "params.values.a", "reference_malformed"),
        ({"params": {"template": "x", "values": {"a": "{{ steps.a.x }}"}}}, "params.values.a", "reference_malformed"),
        ({"params": {"template": "x", "values": {"a": "{{ inputs.x.y }}"}}}, "params.values.a",
         "reference_field_unknown"),
    ],
)  # fmt: skip
def test_faults_of_one_step(step: Raw, path: str, code: str) -> None:
    first = {**template_step("a"), "save_as": "a.txt"}
    steps = [first, {**template_step("b"), **step}, template_step("c")]
    found = faults_at(capsule(steps, inputs=[{"name": "x"}]))
    assert found.get(f"workflow.steps[1].{path}") == code, found


@pytest.mark.parametrize(
    ("action", "params", "paths"),
    [
        ("text.split", {"text": "a"}, {""}),
        ("text.split", {"text": "a", "by": ",", "size": 3}, {""}),
        ("text.split", {"text": "{{ inputs.x }}", "by": "{{ inputs.x }}", "size": "{{ inputs.x }}"}, {""}),
        ("text.split", {"text": "a", "size": "{{ inputs.x }}"}, set()),
        ("text.split", {"text": "a", "size": "3"}, {".size"}),
        ("text.split", {"text": "a", "size": "n{{ inputs.x }}"}, {".size"}),
        ("text.split", {"text": "a", "size": 0}, {".size"}),
        ("slm.complete", {"role": "summarization", "prompt": "{{ inputs.x }}"}, set()),
        ("slm.complete", {"role": "{{ inputs.x }}", "messages": "{{ inputs.x }}"}, set()),
        ("slm.complete", {"role": "poet", "prompt": "x"}, {".role"}),
        ("slm.complete", {"role": "summarization"}, {""}),
        ("slm.complete", {"role": "summarization", "prompt": "a", "messages": "{{ inputs.x }}"}, {""}),
        ("slm.complete", {"role": "asr", "messages": [{"role": "{{ inputs.x }}", "content": "a"}]}, set()),
        ("slm.complete", {"role": "asr", "messages": [{"role": "boss", "content": 5}]},
         {".messages[0].role", ".messages[0].content"}),
        ("memory.recall", {"query": "q", "namespace": "notes/{{ inputs.x }}", "limit": "{{ inputs.x }}"}, set()),
        ("memory.recall", {"query": "q", "namespace": "!", "limit": 101}, {".namespace", ".limit"}),
        ("shell.execute", {"command": "ls -l"}, {".command"}),
        ("shell.execute", {"command": ["ls", "{{ inputs.x }}"]}, set()),
        ("shell.execute", {"command": []}, {".command"}),
        ("text.join", {"parts": "{{ inputs.x }}", "with": ", "}, set()),
        ("text.join", {"parts": [1, "a"], "with_": ", "}, {".with_"}),
        ("http.request", {"urll": "x"}, {".url", ".urll"}),
        ("http.request", {"url": "https://example.org", "method": "FETCH"}, {".method"}),
        ("capsule.run", {"capsule_id": "child", "version": "^1.2", "inputs": {"a": "{{ inputs.x }}"}}, set()),
        ("capsule.run", {"capsule_id": "child", "version": "newest"}, {".version"}),
        ("capsule.run", {"capsule_id": "sample"}, {".capsule_id"}),
    ],
)  # fmt: skip
def test_params_are_held_against_the_action(action: str, params: Raw, paths: set[str]) -> None:
    raw = capsule([{"id": "a", "action": action, "params": params}], inputs=[{"name": "x"}])
    assert set(faults_at(raw)) == {f"workflow.steps[0].params{path}" for path in paths}


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        ("steps.list.output", None),
        ("steps.list.output.entries", None),
        ("steps.list.output.entries.0.path", None),
        ("steps.list.output.entries[0].path", None),
        ("steps.list.output['entries'][0]['path']", None),
        ("steps.list.output.entries.first", "reference_field_unknown"),
        ("steps.list.output.entries.0.name", "reference_field_unknown"),
        ("steps.list.output.entries.0.path.0", "reference_field_unknown"),
        ("steps.get.output.body.anything.at.all", None),
        ("steps.get.output.headers.content-type", None),
        ("steps.get.output.headers.etag.x", "reference_field_unknown"),
        ("steps.get.output.code", "reference_field_unknown"),
        ("steps.child.output.whatever", None),
        ("steps.get", "reference_malformed"),
        ("steps", "reference_malformed"),
        ("inputs", "reference_malformed"),
        ("env.HOME", "reference_malformed"),
        ("inputs.o.deep.er", None),
        ("inputs.s.deep", "reference_field_unknown"),
        ("inputs.s + 1", "reference_malformed"),
    ],
)
def test_fields_of_outputs(reference: str, code: str | None) -> None:
    steps: list[Raw] = [
        {"id": "list", "action": "files.list"},
        {"id": "get", "action": "http.request", "params": {"url": "https://example.org"}},
        {"id": "child", "action": "capsule.run", "params": {"capsule_id": "child"}},
    ]
    inputs = [{"name": "o", "type": "object"}, {"name": "s"}]
    raw = capsule(steps, inputs=inputs, outputs={"x": f"{{{{ {reference} }}}}"})
    assert faults_at(raw) == ({} if code is None else {"outputs.x": code})


def test_ids_with_hyphens_can_be_referred_to() -> None:
    steps: list[Raw] = [template_step("a-b"), {**template_step("c", None, "{{ steps.a-b.output.text }}"),
                                    "when": "steps['a-b'].output.text != ''"}]  # fmt: skip
    assert not definition_faults(capsule(steps))


def test_a_cycle_names_its_steps() -> None:
    steps = [template_step("a", ["c"]), template_step("b", ["a"]), template_step("c", ["b"]), template_step("d", ["c"])]
    found = fault(capsule(steps), "workflow.steps[0].needs")
    assert found.code == "dag_cycle"
    assert "a → c → b → a" in found.detail


def test_a_planner_can_do_without_steps() -> None:
    raw = capsule([], type="planner", planner={"prompt": "Plan."})
    del raw["workflow"]
    assert parse_definition(raw).steps == ()


def test_a_thousand_steps_are_possible_and_one_more_is_not() -> None:
    steps = [template_step(f"s{number}") for number in range(1001)]
    assert not definition_faults(capsule(steps[:1000]))
    assert faults_at(capsule(steps)) == {"workflow.steps": "out_of_range"}


def test_nesting_without_end_is_one_fault() -> None:
    deep: object = "x"
    for _ in range(5000):
        deep = [deep]
    assert set(faults_at(capsule([template_step("a")], outputs={"x": deep})).values()) == {"too_deep"}


def test_hostile_definitions_are_answered_in_bounded_time() -> None:
    """Each of them takes seconds here, and took minutes or did not end before it was bounded."""
    unknown = " ".join(f"{{{{ steps.nobody{number}.output }}}}" for number in range(20_000))
    braces = "{{ inputs.x" * 50_000
    escapes = "'" + "\\" * 200
    long = [{**template_step(f"s{number}"), "when": "true || " * 120 + "true"} for number in range(1000)]
    for raw in (
        capsule([template_step("a", None, unknown)]),
        capsule([template_step("a")], outputs={"x": unknown, "y": braces}),
        capsule([{**template_step("a"), "when": escapes}]),
        capsule(long),
        capsule([template_step("a")], inputs=[{"name": "x", "x" * 500_000: 1}]),
        capsule([template_step("a")], outputs={f"o{number}": "{{ inputs.zz }}" for number in range(20_000)}),
        capsule([template_step(f"s{n}", [f"z{m}" for m in range(100)]) for n in range(500)]),
    ):
        faults = definition_faults(raw)
        assert 0 < len(faults) <= 1000
        assert all(len(entry.detail) < 3000 for entry in faults)

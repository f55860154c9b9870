"""The automated part of a review, and the contract read off a definition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from somagent.domain.canonical import sha256_hex
from somagent.domain.capsules.contract import compliance_report, contract
from somagent.domain.capsules.findings import BLOCKING, Subject, all_findings, findings
from somagent.domain.capsules.validation import parse_definition
from somagent.domain.messages.review import Check
from somagent.tests.domain.capsules.examples import Raw, capsule, template_step, ticket_digest, tools


def _subject(raw: Raw, **changes: Any) -> Subject:
    return replace(Subject(raw, sha256_hex(raw)), **changes)


def _codes(raw: Raw, check: Check, **changes: Any) -> dict[str, str]:
    return {finding.code: finding.severity for finding in findings(check, _subject(raw, **changes))}


def test_a_good_capsule_has_no_blocking_finding_and_every_check_speaks() -> None:
    found = all_findings(_subject(ticket_digest()))
    assert {finding.check for finding in found} == {check.value for check in Check}
    assert not [finding for finding in found if finding.severity == BLOCKING]


def test_using_shell_http_or_git_is_a_warning_and_never_blocking() -> None:
    steps: list[Raw] = [
        {"id": "a", "action": "shell.execute", "params": {"command": ["true"]}},
        {"id": "b", "action": "http.request", "params": {"url": "http://127.0.0.1/"}},
        {"id": "c", "action": "git.clone", "params": {"url": "https://example.org/x.git"}},
        {"id": "d", "action": "files.read", "params": {"path": "../../etc/passwd"}},
    ]
    raw = capsule(steps, tools=tools("shell.execute", "http.request", "git.clone", "files.read"))
    found = all_findings(_subject(raw))
    assert not [finding for finding in found if finding.severity == BLOCKING]
    scan = _codes(raw, Check.POLICY_SCAN)
    assert scan == {"uses_shell": "warning", "at_least_once": "warning", "uses_http": "warning", "uses_git": "warning"}
    assert _codes(raw, Check.DRY_RUN) == {"egress_refused": "warning", "path_outside_workspace": "warning"}


def test_a_fault_is_blocking_in_the_check_it_belongs_to() -> None:
    raw = ticket_digest()
    raw["workflow"]["steps"][0]["needs"] = ["count"]
    raw["extra"] = 1
    assert _codes(raw, Check.SCHEMA) == {"unknown_field": "blocking"}
    assert _codes(raw, Check.DAG) == {"dag_cycle": "blocking"}
    assert _codes(raw, Check.DRY_RUN) == {"not_run": "info"}
    assert _codes(raw, Check.LINT) == {"passed": "info"}


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({}, {"unsigned": "info"}),
        ({"signed_by": "key-1"}, {"signed": "info"}),
        ({"attestation_hash": "0" * 64}, {"attestation_mismatch": "blocking"}),
    ],
)
def test_attestation(changes: dict[str, object], codes: dict[str, str]) -> None:
    assert _codes(ticket_digest(), Check.ATTESTATION, **changes) == codes


def test_lint_sees_what_is_poor_and_what_is_unused() -> None:
    steps: list[Raw] = [
        {"id": "a", "action": "slm.complete", "params": {"role": "summarization", "prompt": "x"}},
        template_step("unused"),
    ]
    declared = tools("slm.embed", "text.template")
    raw = capsule(steps, summary="TODO: write", inputs=[{"name": "nobody"}], tools=declared)
    found = _codes(raw, Check.LINT)
    for code in ("summary_poor", "outputs_missing", "input_unused", "step_unused", "verb_undeclared", "budget_missing"):
        assert found[code] == "warning", found
    for code in ("tool_unused", "description_missing", "duration_missing"):
        assert found[code] == "info", found


@pytest.mark.parametrize(
    ("when", "outputs", "heeded"),
    [
        (None, {"by": "{{ steps.ask.output.by }}"}, False),
        ("steps.ask.output.decision == 'approve'", {"file": "{{ steps.write.output.path }}"}, True),
        (None, {"decision": "{{ steps.ask.output.decision }}"}, True),
        (None, {"answer": "{{ steps.ask.output }}"}, True),
    ],
)
def test_an_answer_of_people_that_nobody_heeds_is_a_warning(when: str | None, outputs: Raw, heeded: bool) -> None:
    write: Raw = {"id": "write", "action": "files.write", "params": {"path": "a.txt", "content": "x"}}
    ask: Raw = {"id": "ask", "action": "human.approve", "params": {"question": "Shall it be written?"}}
    steps = [ask, write | ({"when": when} if when else {})]
    raw = capsule(steps, outputs=outputs, tools=tools("human.approve", "files.write"))
    assert ("decision_unheeded" not in _codes(raw, Check.LINT)) is heeded


def test_the_dry_run_finds_types_that_can_never_fit() -> None:
    steps: list[Raw] = [
        {"id": "list", "action": "files.list"},
        {"id": "split", "action": "text.split", "params": {"text": "{{ steps.list.output.entries }}", "by": " "}},
        {"id": "cut", "action": "text.split", "params": {"text": "x", "size": "{{ inputs.size }}"}},
        {"id": "read", "action": "files.read", "params": {"path": "{{ inputs.maybe }}"}},
        {"id": "maybe", "action": "files.list", "when": "steps.list.output.entries[0].bytes"},
        {"id": "page", "action": "text.template", "params": {"template": "{{ nobody }} {% set here = 1 %}{{ here }}"}},
    ]
    raw = capsule(steps, inputs=[{"name": "size"}, {"name": "maybe"}])
    found = {(finding.path, finding.code): finding.severity for finding in findings(Check.DRY_RUN, _subject(raw))}
    assert found == {
        ("workflow.steps[1].params.text", "type_mismatch"): "blocking",
        ("workflow.steps[2].params.size", "type_mismatch"): "warning",
        ("workflow.steps[3].params.path", "null_possible"): "warning",
        ("workflow.steps[4].when", "condition_no_truth"): "blocking",
        ("workflow.steps[5].params.template", "template_name_unknown"): "warning",
    }


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "Bearer ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "-----BEGIN PRIVATE KEY-----\nMC4",
        "postgresql://soma:hunter22@db/x",
    ],
)
def test_a_secret_blocks_and_is_not_repeated(secret: str) -> None:
    raw = capsule([template_step("a", None, secret)])
    found = [finding for finding in findings(Check.POLICY_SCAN, _subject(raw)) if finding.severity == BLOCKING]
    assert [(finding.code, finding.path) for finding in found] == [
        ("secret_in_definition", "workflow.steps[0].params.template")
    ]
    assert secret not in found[0].detail


def test_what_the_tenant_does_not_allow_or_have_is_told() -> None:
    raw = capsule([{"id": "a", "action": "capsule.run", "params": {"capsule_id": "child"}}], type="composite")
    codes = _codes(raw, Check.POLICY_SCAN, allowed_adapters=frozenset({"text"}), known_capsules=frozenset())
    assert codes == {"tool_not_allowed": "warning", "child_missing": "warning"}


def test_the_contract_bounds_a_run() -> None:
    steps: list[Raw] = [
        {"id": "ask", "action": "slm.complete", "retry": {"max_attempts": 2, "backoff_seconds": 10},
         "timeout_seconds": 100, "params": {"role": "summarization", "prompt": "abcdefgh", "max_tokens": 100}},
        {"id": "go", "action": "http.request", "params": {"url": "https://example.org"}, "needs": []},
        {"id": "run", "action": "shell.execute", "params": {"command": ["true"]}, "needs": [],
         "requires_approval": True},
        {"id": "wait", "action": "human.approve", "params": {"question": "?"}, "needs": ["ask"]},
        {"id": "child", "action": "capsule.run", "params": {"capsule_id": "other", "version": "^1"}, "needs": ["wait"]},
    ]  # fmt: skip
    declared = tools("slm.complete", "http.request", "shell.execute", "human.approve", "capsule.run")
    policies = {"budget_tokens": 500, "residency": ["eu"], "approvals": {"quorum": 2}}
    definition = parse_definition(capsule(steps, tools=declared, policies=policies))
    bounds = contract(definition)
    assert bounds.worst_case_tokens == 2 * (100 + 2)
    assert (bounds.steps, bounds.critical_path) == (5, 3)
    assert bounds.token_limit == 500
    assert bounds.outbound
    assert bounds.at_least_once == ("run",)
    assert bounds.approvals == ("run", "wait")
    assert [(child.step, child.capsule_id, child.version) for child in bounds.children] == [("child", "other", "^1")]
    report = compliance_report(definition)
    assert report.approval_quorum == 2
    assert report.residency == ("eu",)
    assert report.leaves_the_machine == ("go",)
    assert not report.bounded
    assert any("2 people" in statement for statement in report.statements)

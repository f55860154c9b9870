"""The automated part of a review: six checks over a definition, each a pure function that yields findings.

``blocking`` findings need an override with ``capsule:override``; warnings and notes are for the reviewer to weigh. What
the policy scan finds (shell, http, git) is never blocking.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hmac import compare_digest

from somagent.domain.actions import Delivery, action
from somagent.domain.canonical import sha256_hex
from somagent.domain.capsules.contract import contract
from somagent.domain.capsules.definition import CapsuleDefinition, Step
from somagent.domain.capsules.dry_run import dry_run
from somagent.domain.capsules.secrets import secrets_in
from somagent.domain.capsules.usage import undeclared_verbs, unheeded_answers, unused_inputs, unused_steps, unused_verbs
from somagent.domain.capsules.validation import definition_faults
from somagent.domain.errors import SomaError
from somagent.domain.messages.review import Check, ReviewFinding
from somagent.domain.model import JsonObject

INFO = "info"
WARNING = "warning"
BLOCKING = "blocking"

_PLACEHOLDER = re.compile(r"\b(todo|tbd|fixme|lorem ipsum|placeholder|asdf|foo bar)\b", re.IGNORECASE)
_ORDER_CODES = frozenset({"dag_cycle", "unknown_step", "reference_to_itself"})
_SHORT_SUMMARY = 15
_HEED = "Give the steps after it `when: steps.{}.output.decision == 'approve'`."
_SLOW = frozenset({"http", "git", "shell", "postgres"})


@dataclass(frozen=True, slots=True)
class Subject:
    """What is reviewed, and what the tenant's policy says.

    Attributes:
        document: the definition as it was handed in.
        attestation_hash: the hash that was given for it.
        signed_by: the key whose signature was found to hold, or None.
        allowed_adapters: those that the tenant allows; None for all.
        known_capsules: ids that the tenant can see, to check children; None when that is not known.
    """

    document: JsonObject
    attestation_hash: str
    signed_by: str | None = None
    allowed_adapters: frozenset[str] | None = None
    known_capsules: frozenset[str] | None = None


def findings(check: Check, subject: Subject) -> tuple[ReviewFinding, ...]:
    """What one check finds; at least one finding, so that a reviewer sees that it ran."""
    found = tuple(_CHECKS[check](subject))
    return found or (_finding(check, INFO, "passed", _PASSED[check]),)


def all_findings(subject: Subject) -> tuple[ReviewFinding, ...]:
    """What all six checks find, in their order."""
    return tuple(finding for check in Check for finding in findings(check, subject))


def _schema(subject: Subject) -> Iterator[ReviewFinding]:
    for fault in definition_faults(subject.document):
        if fault.code not in _ORDER_CODES:
            yield _finding(Check.SCHEMA, BLOCKING, fault.code, fault.detail, fault.path)


def _dag(subject: Subject) -> Iterator[ReviewFinding]:
    for fault in definition_faults(subject.document):
        if fault.code in _ORDER_CODES:
            yield _finding(Check.DAG, BLOCKING, fault.code, fault.detail, fault.path)
    definition = _definition(subject)
    if definition is not None:
        bounds = contract(definition)
        detail = f"{bounds.steps} steps; the longest chain has {bounds.critical_path}."
        yield _finding(Check.DAG, INFO, "shape", detail, "workflow.steps")


def _attestation(subject: Subject) -> Iterator[ReviewFinding]:
    try:
        actual = sha256_hex(subject.document)
    except SomaError as error:
        yield _finding(Check.ATTESTATION, BLOCKING, "attestation_mismatch", error.detail)
        return
    if not compare_digest(actual.encode(), subject.attestation_hash.lower().encode()):
        detail = f"The hash given is not the definition's, which is {actual}."
        yield _finding(Check.ATTESTATION, BLOCKING, "attestation_mismatch", detail)
    elif subject.signed_by is None:
        detail = "The hash holds. Nobody signed it: who wrote the capsule rests on the submitter's word."
        yield _finding(Check.ATTESTATION, INFO, "unsigned", detail)
    else:
        yield _finding(Check.ATTESTATION, INFO, "signed", f"The hash holds, and key {subject.signed_by} signed it.")


def _lint(subject: Subject) -> Iterator[ReviewFinding]:
    definition = _definition(subject)
    if definition is None:
        return
    yield from _lint_words(definition)
    yield from _lint_inputs(definition)
    yield from _lint_steps(definition)
    for path, adapter, verb in unused_verbs(definition):
        yield _finding(Check.LINT, INFO, "tool_unused", f"{adapter}.{verb} is declared and no step uses it.", path)
    for path, name in undeclared_verbs(definition):
        detail = f"{name} is used and its verb stands in no tools entry; declare what is used."
        yield _finding(Check.LINT, WARNING, "verb_undeclared", detail, path)
    if definition.policies.budget_tokens is None and contract(definition).worst_case_tokens:
        detail = "The capsule asks a model and has no budget_tokens; one run can use up the tenant's day."
        yield _finding(Check.LINT, WARNING, "budget_missing", detail, "policies.budget_tokens")
    if definition.policies.max_duration_seconds is None:
        detail = "Without max_duration_seconds a job that hangs is noticed by nobody."
        yield _finding(Check.LINT, INFO, "duration_missing", detail, "policies.max_duration_seconds")


def _lint_words(definition: CapsuleDefinition) -> Iterator[ReviewFinding]:
    summary = definition.summary.strip()
    if len(summary) < _SHORT_SUMMARY or _PLACEHOLDER.search(summary):
        detail = "The summary does not say what the capsule does; one sentence with its input and its result would."
        yield _finding(Check.LINT, WARNING, "summary_poor", detail, "summary")
    if not definition.outputs and definition.steps:
        detail = "The capsule has no outputs: whoever runs it gets nothing back."
        yield _finding(Check.LINT, WARNING, "outputs_missing", detail, "outputs")
    if definition.type == "planner" and definition.planner is None:
        detail = "A planner without a planner block plans with the defaults."
        yield _finding(Check.LINT, WARNING, "planner_missing", detail, "planner")


def _lint_inputs(definition: CapsuleDefinition) -> Iterator[ReviewFinding]:
    unused = unused_inputs(definition)
    for index, spec in enumerate(definition.inputs):
        path = f"inputs[{index}]"
        if not spec.description.strip():
            detail = f"Input {spec.name!r} has no description."
            yield _finding(Check.LINT, INFO, "description_missing", detail, f"{path}.description")
        if spec.name in unused:
            yield _finding(Check.LINT, WARNING, "input_unused", f"Nothing uses input {spec.name!r}.", path)
        if spec.required and spec.default is not None:
            detail = f"Input {spec.name!r} is required and has a default, which always wins over asking."
            yield _finding(Check.LINT, INFO, "default_of_required", detail, f"{path}.default")


def _lint_steps(definition: CapsuleDefinition) -> Iterator[ReviewFinding]:
    unused, unheeded = unused_steps(definition), unheeded_answers(definition)
    for index, step in enumerate(definition.steps):
        path, spec = f"workflow.steps[{index}]", action(step.action)
        if spec.adapter in _SLOW and step.timeout_seconds is None:
            detail = f"{step.action} has no timeout_seconds; {spec.default_timeout_seconds:g} s hold."
            yield _finding(Check.LINT, INFO, "timeout_default", detail, f"{path}.timeout_seconds")
        if step.id in unused:
            detail = f"Nothing uses the output of step {step.id!r}, and it changes nothing."
            yield _finding(Check.LINT, WARNING, "step_unused", detail, path)
        if step.id in unheeded:
            detail = f"Nothing looks at what people decide in step {step.id!r}: after a rejection the job goes on."
            yield _finding(Check.LINT, WARNING, "decision_unheeded", f"{detail} {_HEED.format(step.id)}", path)


def _policy_scan(subject: Subject) -> Iterator[ReviewFinding]:
    definition = _definition(subject)
    if definition is None:
        return
    for index, step in enumerate(definition.steps):
        yield from _scan_step(f"workflow.steps[{index}].action", step, subject)
    for path, kind in secrets_in(subject.document):
        detail = f"This looks like {kind}. A definition is read by many; keep secrets with the operator."
        yield _finding(Check.POLICY_SCAN, BLOCKING, "secret_in_definition", detail, path)


def _scan_step(path: str, step: Step, subject: Subject) -> Iterator[ReviewFinding]:
    spec = action(step.action)
    if spec.review_warning:
        where = "it reaches other machines" if spec.outbound else "it runs programs in the sandbox"
        detail = f"Step {step.id!r} uses {step.action}: {where}. Look at its params."
        yield _finding(Check.POLICY_SCAN, WARNING, f"uses_{spec.adapter}", detail, path)
    if spec.delivery is Delivery.AT_LEAST_ONCE:
        detail = f"Step {step.id!r} is repeated after a crash (at_least_once); it must bear being done twice."
        yield _finding(Check.POLICY_SCAN, WARNING, "at_least_once", detail, path)
    if subject.allowed_adapters is not None and spec.adapter not in subject.allowed_adapters:
        detail = f"The tenant does not allow {spec.adapter!r}; the installation will be refused."
        yield _finding(Check.POLICY_SCAN, WARNING, "tool_not_allowed", detail, path)
    child = step.params.get("capsule_id") if step.action == "capsule.run" else None
    if isinstance(child, str) and "{{" in child:
        detail = f"Which capsule step {step.id!r} runs is known only when it runs."
        yield _finding(Check.POLICY_SCAN, WARNING, "child_unknown", detail, path)
    elif isinstance(child, str) and subject.known_capsules is not None and child not in subject.known_capsules:
        detail = f"There is no capsule {child!r} yet; it has to be installed before this one runs."
        yield _finding(Check.POLICY_SCAN, WARNING, "child_missing", detail, path)


def _dry_run(subject: Subject) -> Iterator[ReviewFinding]:
    definition = _definition(subject)
    if definition is None:
        detail = "Not run: the definition has faults."
        yield _finding(Check.DRY_RUN, INFO, "not_run", detail)
        return
    for trouble in dry_run(definition):
        severity = BLOCKING if trouble.certain else WARNING
        yield _finding(Check.DRY_RUN, severity, trouble.code, trouble.detail, trouble.path)


_CHECKS: Mapping[Check, Callable[[Subject], Iterator[ReviewFinding]]] = {
    Check.SCHEMA: _schema,
    Check.LINT: _lint,
    Check.ATTESTATION: _attestation,
    Check.POLICY_SCAN: _policy_scan,
    Check.DAG: _dag,
    Check.DRY_RUN: _dry_run,
}

_PASSED: Mapping[Check, str] = {
    Check.SCHEMA: "The definition has the right shape.",
    Check.LINT: "Nothing to improve.",
    Check.ATTESTATION: "The hash holds.",
    Check.POLICY_SCAN: "No step runs programs or reaches other machines.",
    Check.DAG: "The steps have an order.",
    Check.DRY_RUN: "With sample inputs every step gets params that it takes.",
}


def _definition(subject: Subject) -> CapsuleDefinition | None:
    if definition_faults(subject.document):
        return None
    return CapsuleDefinition.model_validate(subject.document)


def _finding(check: Check, severity: str, code: str, detail: str, path: str = "") -> ReviewFinding:
    return ReviewFinding(check=check.value, severity=severity, code=code, detail=detail, path=path)

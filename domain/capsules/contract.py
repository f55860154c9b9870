"""What a capsule can do at worst, read off its definition: tokens, time, tools, effects, and who has to agree."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import JsonValue

from somagent.domain.actions import ActionSpec, Delivery, Weight, action
from somagent.domain.actions.remote import SlmCompleteParams
from somagent.domain.capsules.definition import CapsuleDefinition, Step
from somagent.domain.capsules.graph import topological_order
from somagent.domain.capsules.needs import effective_needs
from somagent.domain.capsules.planning import default_retry
from somagent.domain.capsules.references import MalformedReferenceError, Reference, split
from somagent.domain.model import Model

CHARACTERS_PER_TOKEN = 4
REFERENCE_TOKENS = 2000
"""What one reference in a prompt is reckoned at: its value is known only when the job runs."""
MOST_TOKENS = 8192
"""The most that one answer can have, where ``max_tokens`` is a reference."""


class ChildCapsule(Model):
    """A capsule that a step runs; the id is None where a reference names it."""

    step: str
    capsule_id: str | None
    version: str | None


class ToolContract(Model):
    """An adapter with the verbs that steps use of it, and those that are declared and unused."""

    adapter: str
    used: tuple[str, ...]
    declared_only: tuple[str, ...] = ()


class CapsuleContract(Model):
    """The bounds of one run.

    ``worst_case_tokens`` adds up, for each model step, the estimated prompt and the longest answer, times its attempts;
    children are not in it. ``token_limit`` is the capsule's own budget, at which a job stops and waits for a person.
    ``worst_case_seconds`` is the longest chain of needs with every timeout and attempt used up; people's decisions are
    not in it. ``critical_path`` counts the steps of the longest chain.
    """

    steps: int
    critical_path: int
    worst_case_seconds: float
    worst_case_tokens: int
    token_limit: int | None
    max_duration_seconds: int | None
    tools: tuple[ToolContract, ...]
    outbound: bool
    at_least_once: tuple[str, ...]
    effects: tuple[str, ...]
    approvals: tuple[str, ...]
    children: tuple[ChildCapsule, ...]


class ComplianceReport(Model):
    """Who has to agree to what, where it may run, and what leaves the machine."""

    requires_review: bool
    approval_quorum: int
    approval_steps: tuple[str, ...]
    residency: tuple[str, ...]
    leaves_the_machine: tuple[str, ...]
    reviewer_warnings: tuple[str, ...]
    bounded: bool
    statements: tuple[str, ...]


def contract(definition: CapsuleDefinition) -> CapsuleContract:
    """The contract of a validated definition."""
    steps = definition.steps
    specs = {step.id: action(step.action) for step in steps}
    return CapsuleContract(
        steps=len(steps),
        critical_path=int(_longest(definition, dict.fromkeys(specs, 1.0))),
        worst_case_seconds=_longest(definition, {step.id: _seconds(step, specs[step.id]) for step in steps}),
        worst_case_tokens=sum(_tokens(step) * _attempts(step, specs[step.id]) for step in steps),
        token_limit=definition.policies.budget_tokens,
        max_duration_seconds=definition.policies.max_duration_seconds,
        tools=_tools(definition),
        outbound=any(spec.outbound for spec in specs.values()),
        at_least_once=_steps_where(definition, lambda spec: spec.delivery is Delivery.AT_LEAST_ONCE),
        effects=_steps_where(definition, lambda spec: spec.effect),
        approvals=_approvals(definition),
        children=tuple(_child(step) for step in steps if specs[step.id].weight is Weight.CHILD),
    )


def compliance_report(definition: CapsuleDefinition) -> ComplianceReport:
    """The compliance report of a validated definition."""
    policies = definition.policies
    outbound = _steps_where(definition, lambda spec: spec.outbound)
    approvals = _approvals(definition)
    bounded = policies.budget_tokens is not None and policies.max_duration_seconds is not None
    return ComplianceReport(
        requires_review=policies.requires_review,
        approval_quorum=policies.approvals.quorum,
        approval_steps=approvals,
        residency=policies.residency,
        leaves_the_machine=outbound,
        reviewer_warnings=_steps_where(definition, lambda spec: spec.review_warning),
        bounded=bounded,
        statements=tuple(_statements(definition, approvals, outbound)),
    )


def _statements(definition: CapsuleDefinition, approvals: tuple[str, ...], outbound: tuple[str, ...]) -> list[str]:
    policies = definition.policies
    people = "one person" if policies.approvals.quorum == 1 else f"{policies.approvals.quorum} people"
    return [
        f"Before {', '.join(approvals)}, {people} other than the submitter must agree (capability approval:decide)."
        if approvals
        else "No step waits for a person.",
        f"May run in {', '.join(policies.residency)} only." if policies.residency else "May run in any region.",
        f"Reaches other machines in {', '.join(outbound)}." if outbound else "Reaches no other machine by itself.",
        f"Stops for a person at {policies.budget_tokens:,} tokens."
        if policies.budget_tokens is not None
        else "Has no token budget of its own; the tenant's daily budget holds.",
        f"Fails after {policies.max_duration_seconds:,} seconds."
        if policies.max_duration_seconds is not None
        else "Has no limit of its duration.",
    ]


def _longest(definition: CapsuleDefinition, cost: dict[str, float]) -> float:
    """The cost of the most expensive chain of needs."""
    needs = effective_needs(definition.steps)
    total: dict[str, float] = {}
    for step in topological_order(needs):
        total[step] = cost[step] + max((total[need] for need in needs[step]), default=0.0)
    return max(total.values(), default=0.0)


def _attempts(step: Step, spec: ActionSpec) -> int:
    return (step.retry or default_retry(spec)).max_attempts


def _seconds(step: Step, spec: ActionSpec) -> float:
    if spec.weight is Weight.WAIT:
        return 0.0
    retry = step.retry or default_retry(spec)
    timeout = spec.default_timeout_seconds if step.timeout_seconds is None else step.timeout_seconds
    waits = sum(retry.backoff_seconds * 2.0**attempt for attempt in range(retry.max_attempts - 1))
    return timeout * retry.max_attempts + waits


def _tokens(step: Step) -> int:
    if step.action == "slm.embed":
        return _text_tokens(step.params.get("input"))
    if step.action != "slm.complete":
        return 0
    longest = step.params.get("max_tokens", SlmCompleteParams.model_fields["max_tokens"].default)
    prompt = _text_tokens(step.params.get("prompt")) + _text_tokens(step.params.get("messages"))
    return prompt + (longest if isinstance(longest, int) else MOST_TOKENS)


def _text_tokens(value: JsonValue) -> int:
    if isinstance(value, str):
        return sum(_piece_tokens(piece) for piece in _pieces(value))
    if isinstance(value, list):
        return sum(_text_tokens(item) for item in value)
    return sum(_text_tokens(item) for item in value.values()) if isinstance(value, dict) else 0


def _pieces(text: str) -> tuple[str | Reference, ...]:
    try:
        return split(text)
    except MalformedReferenceError:
        return (text,)


def _piece_tokens(piece: str | Reference) -> int:
    return REFERENCE_TOKENS if isinstance(piece, Reference) else -(-len(piece) // CHARACTERS_PER_TOKEN)


def _tools(definition: CapsuleDefinition) -> tuple[ToolContract, ...]:
    used: dict[str, set[str]] = {}
    for step in definition.steps:
        spec = action(step.action)
        used.setdefault(spec.adapter, set()).add(spec.verb)
    declared: dict[str, set[str]] = {}
    for tool in definition.tools:
        declared.setdefault(tool.adapter, set()).update(tool.actions)
    return tuple(
        ToolContract(
            adapter=adapter,
            used=tuple(sorted(used.get(adapter, set()))),
            declared_only=tuple(sorted(declared.get(adapter, set()) - used.get(adapter, set()))),
        )
        for adapter in sorted(used.keys() | declared.keys())
    )


def _approvals(definition: CapsuleDefinition) -> tuple[str, ...]:
    return tuple(
        step.id for step in definition.steps if step.requires_approval or action(step.action).weight is Weight.WAIT
    )


def _steps_where(definition: CapsuleDefinition, holds: Callable[[ActionSpec], bool]) -> tuple[str, ...]:
    return tuple(step.id for step in definition.steps if holds(action(step.action)))


def _child(step: Step) -> ChildCapsule:
    capsule_id, version = step.params.get("capsule_id"), step.params.get("version")
    named = isinstance(capsule_id, str) and "{{" not in capsule_id
    return ChildCapsule(
        step=step.id,
        capsule_id=capsule_id if named and isinstance(capsule_id, str) else None,
        version=version if isinstance(version, str) else None,
    )

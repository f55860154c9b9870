"""Making the plan of a job from its capsule's definition."""

from __future__ import annotations

from somagent.domain.actions import ActionSpec, Delivery, action
from somagent.domain.capsules.definition import CapsuleDefinition, Retry, Step
from somagent.domain.capsules.graph import ancestry, topological_order
from somagent.domain.capsules.needs import effective_needs
from somagent.domain.capsules.plan import JobPlan, PlannedStep
from somagent.domain.errors import Code, Fault, SomaError

MAX_PLAN_BYTES = 240_000
"""A plan travels in a workflow's start argument, and Temporal's payloads are kept under 256 kB."""

DEFAULT_RETRY = Retry(max_attempts=3, backoff_seconds=1.0)
AT_LEAST_ONCE_RETRY = Retry(max_attempts=1, backoff_seconds=1.0)
"""Where the capsule says nothing: what cannot tell a repeat apart is not repeated."""


def build_plan(definition: CapsuleDefinition) -> JobPlan:
    """The plan of a definition that :func:`somagent.domain.capsules.validation.parse_definition` has accepted.

    Needs that are implied by others are left out: they change nothing in the order and cost room.

    Raises:
        SomaError: CAPSULE_INVALID where the plan is over :data:`MAX_PLAN_BYTES` (thousands of needs).
    """
    needs = effective_needs(definition.steps)
    above = ancestry(needs)
    by_id = {step.id: step for step in definition.steps}
    plan = JobPlan(steps=tuple(_planned(by_id[name], above.reduced(needs[name])) for name in topological_order(needs)))
    size = len(plan.model_dump_json().encode())
    if size > MAX_PLAN_BYTES:
        detail = f"the plan of its steps takes {size} bytes, and {MAX_PLAN_BYTES} are possible; use fewer needs"
        fault = Fault("workflow.steps", "plan_too_large", detail)
        raise SomaError(Code.CAPSULE_INVALID, f"The capsule {definition.id} is too large: {detail}.", errors=(fault,))
    return plan


def _planned(step: Step, needs: tuple[str, ...]) -> PlannedStep:
    spec = action(step.action)
    retry = step.retry or default_retry(spec)
    timeout = spec.default_timeout_seconds if step.timeout_seconds is None else step.timeout_seconds
    return PlannedStep(
        id=step.id,
        action=step.action,
        weight=spec.weight,
        needs=needs,
        worst_case_seconds=min(spec.worst_case_seconds, timeout),
        timeout_seconds=timeout,
        max_attempts=retry.max_attempts,
        backoff_seconds=retry.backoff_seconds,
        requires_approval=step.requires_approval,
    )


def default_retry(spec: ActionSpec) -> Retry:
    """How often an action is tried where its step does not say."""
    return AT_LEAST_ONCE_RETRY if spec.delivery is Delivery.AT_LEAST_ONCE else DEFAULT_RETRY

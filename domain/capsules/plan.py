"""What a job executes: the plan of its steps, and which of them can run next. Pure; workflow code imports it."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import SerializerFunctionWrapHandler, model_serializer

from somagent.domain.actions import ActionSpec, Delivery, Weight, action
from somagent.domain.capsules.definition import CapsuleDefinition, Retry, Step
from somagent.domain.capsules.graph import ancestry, topological_order
from somagent.domain.capsules.needs import effective_needs
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import Model

MAX_PLAN_BYTES = 240_000
"""A plan travels in a workflow's start argument, and Temporal's payloads are kept under 256 kB."""

DEFAULT_RETRY = Retry(max_attempts=3, backoff_seconds=1.0)
AT_LEAST_ONCE_RETRY = Retry(max_attempts=1, backoff_seconds=1.0)
"""Where the capsule says nothing: what cannot tell a repeat apart is not repeated."""


class PlannedStep(Model):
    """One step as the workflow sees it. ``max_attempts`` counts the first. Fields at their default do not travel."""

    id: str
    action: str
    weight: Weight = Weight.LIGHT
    needs: tuple[str, ...] = ()
    worst_case_seconds: float = 0.05
    timeout_seconds: float = 60.0
    max_attempts: int = DEFAULT_RETRY.max_attempts
    backoff_seconds: float = DEFAULT_RETRY.backoff_seconds
    requires_approval: bool = False

    @property
    def summary(self) -> str:
        """What an operator reads in Temporal's web UI."""
        return f"{self.id} · {self.action}"

    @property
    def joins_segment(self) -> bool:
        """Whether it can run inside a segment: it is light, and nobody has to be asked first."""
        return self.weight is Weight.LIGHT and not self.requires_approval

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        fields = type(self).model_fields
        return {name: value for name, value in handler(self).items() if getattr(self, name) != fields[name].default}


class JobPlan(Model):
    """The steps, each after what it needs, and otherwise in the definition's order."""

    steps: tuple[PlannedStep, ...] = ()


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


def ready(plan: JobPlan, settled: Collection[str]) -> tuple[str, ...]:
    """The steps that have not settled and whose needs all have, in the plan's order (running ones among them)."""
    return tuple(
        step.id for step in plan.steps if step.id not in settled and all(need in settled for need in step.needs)
    )


def segment(plan: JobPlan, settled: Collection[str], running: Collection[str] = frozenset()) -> tuple[str, ...]:
    """The maximal run of light steps that can go now, in the order in which they have to run.

    A step joins when it is light, wants no approval, and each of its needs has settled or joined before it. One pass
    finds them all because the plan is in topological order.
    """
    members: dict[str, None] = {}
    for step in plan.steps:
        if not step.joins_segment or step.id in settled or step.id in running:
            continue
        if all(need in settled or need in members for need in step.needs):
            members[step.id] = None
    return tuple(members)


def worst_case_seconds(plan: JobPlan, step_ids: Collection[str]) -> float:
    """The bound on one attempt of these steps one after another, in seconds."""
    wanted = set(step_ids)
    return sum(step.worst_case_seconds for step in plan.steps if step.id in wanted)

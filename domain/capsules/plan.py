"""What a job executes: the plan of its steps, and which of them can run next.

Workflow code imports this module, so that it must load no parser: plans are made in
:mod:`somagent.domain.capsules.planning`.
"""

from __future__ import annotations

from collections.abc import Collection

from pydantic import SerializerFunctionWrapHandler, model_serializer

from somagent.domain.actions import Weight
from somagent.domain.model import Model


class PlannedStep(Model):
    """One step as the workflow sees it. ``max_attempts`` counts the first. Fields at their default do not travel."""

    id: str
    action: str
    weight: Weight = Weight.LIGHT
    needs: tuple[str, ...] = ()
    worst_case_seconds: float = 0.05
    timeout_seconds: float = 60.0
    max_attempts: int = 3
    backoff_seconds: float = 1.0
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

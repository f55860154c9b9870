"""What of a plan can run now, cut into units: one segment of light steps, and single steps of every other kind."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass

from somagent.domain.capsules.plan import JobPlan, PlannedStep, ready, segment


@dataclass(frozen=True, slots=True)
class Unit:
    """Steps that are driven together. ``single`` is the one step of a unit that is not a segment."""

    steps: tuple[str, ...]
    single: PlannedStep | None = None


class Schedule:
    """A plan's order. Pure: the caller holds what is settled and what is running."""

    def __init__(self, plan: JobPlan) -> None:
        self._plan = plan
        self._steps = {step.id: step for step in plan.steps}

    def step(self, step_id: str) -> PlannedStep:
        """The planned step of that id."""
        return self._steps[step_id]

    def finished(self, settled: Set[str]) -> bool:
        """Whether every step is settled."""
        return all(step in settled for step in self._steps)

    def units(self, settled: Set[str], running: Set[str]) -> list[Unit]:
        """Every unit that can start now: never a step before its needs, never one that is running."""
        light = segment(self._plan, settled, running)
        units = [Unit(steps=light)] if light else []
        taken = frozenset(light) | running
        singles = (step_id for step_id in ready(self._plan, settled) if step_id not in taken)
        return units + [Unit(steps=(step_id,), single=self._steps[step_id]) for step_id in singles]

    def worst_case_seconds(self, steps: Iterable[str]) -> float:
        """How long these light steps take at worst, by their actions' manifests."""
        return sum(self._steps[step_id].worst_case_seconds for step_id in steps)

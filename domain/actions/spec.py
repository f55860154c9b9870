"""What the product knows of an action before it runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel


class Weight(StrEnum):
    """How a step is driven.

    LIGHT steps run together as one segment; HEAVY ones are activities on ``soma-activities``; SANDBOXED ones are
    activities on ``soma-tools``; SLM ones end by asynchronous completion; CHILD is a child workflow; WAIT is a
    decision of people that may take weeks.
    """

    LIGHT = "light"
    HEAVY = "heavy"
    SANDBOXED = "sandboxed"
    SLM = "slm"
    CHILD = "child"
    WAIT = "wait"


class Delivery(StrEnum):
    """Whether a repeat after a crash can be told apart: at_least_once is shown to the reviewer."""

    EXACTLY_ONCE = "exactly_once"
    AT_LEAST_ONCE = "at_least_once"


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One action: its schema for parameters and output, and how it is driven.

    Attributes:
        worst_case_seconds: bound used to decide whether a segment may be local (light actions only).
        effect: whether it changes anything outside the step's own record; only these need a policy verdict.
        outbound: whether it leaves the machine, and so counts against the rate limit of its adapter.
        risk: the manifest's risk in [0, 1], used by the policy score where the caller gives none.
        compensated: whether its effect is undone when the job fails or is cancelled.
        open_output: whether the output holds fields beyond those of ``output`` (a child's outputs).
    """

    name: str
    params: type[BaseModel]
    output: type[BaseModel]
    weight: Weight
    summary: str
    worst_case_seconds: float = 0.05
    effect: bool = False
    outbound: bool = False
    risk: float = 0.1
    delivery: Delivery = Delivery.EXACTLY_ONCE
    default_timeout_seconds: float = 60.0
    review_warning: bool = False
    open_output: bool = False
    compensated: bool = False

    @property
    def adapter(self) -> str:
        """The adapter that a capsule has to declare to use this action."""
        return self.name.partition(".")[0]

    @property
    def verb(self) -> str:
        """The bare verb, as it stands in a capsule's ``tools[].actions``."""
        return self.name.partition(".")[2]

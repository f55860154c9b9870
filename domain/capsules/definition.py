"""A capsule's definition: the same on disk (YAML) and on the wire (JSON).

Unknown fields are faults, and ``"1"`` is no number.
These models say what shape is right; :mod:`somagent.domain.capsules.validation` says whether it makes sense.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

CAPSULE_ID = r"^[A-Za-z][A-Za-z0-9_-]{0,127}$"
STEP_ID = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
FILE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"
MAX_STEPS = 1000

Name = Annotated[str, Field(pattern=STEP_ID)]
_LIST = Field(strict=False)  # JSON has lists, these models have tuples; the items stay strict


class Strict(BaseModel):
    """Frozen, closed and strict: no coercion between text, numbers and booleans."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class InputType(StrEnum):
    """What an input may be. ``text`` is a ``string`` that a person writes over several lines."""

    STRING = "string"
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "list"
    OBJECT = "object"


class Persona(Strict):
    """Who speaks where a model is asked; ``system_prompt`` goes before every prompt of ``slm.complete``."""

    name: Annotated[str, Field(min_length=1, max_length=128)] = "assistant"
    traits: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=128)], ...], _LIST] = ()
    system_prompt: Annotated[str, Field(max_length=20_000)] = ""


class InputSpec(Strict):
    """One input. Without a default and not required, it is null when it is not given."""

    name: Name
    type: Annotated[InputType, _LIST] = InputType.STRING
    required: bool = False
    default: JsonValue = None
    description: Annotated[str, Field(max_length=2000)] = ""


class ToolUse(Strict):
    """An adapter with the bare verbs of it that the steps use."""

    adapter: Annotated[str, Field(min_length=1, max_length=64)]
    actions: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], Field(strict=False, min_length=1)
    ]


class Knowledge(Strict):
    """A question to the memory, asked of one namespace."""

    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$", max_length=200)]
    query: Annotated[str, Field(min_length=1, max_length=20_000)]


class Approvals(Strict):
    """How many people must agree before a step with ``requires_approval`` takes effect."""

    quorum: Annotated[int, Field(ge=1, le=50)] = 1


class Policies(Strict):
    """Limits of a job made from the capsule; None is no limit of the capsule's own."""

    budget_tokens: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    requires_review: bool = False
    max_duration_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    residency: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=64)], ...], _LIST] = ()
    approvals: Approvals = Approvals()


class Heuristics(Strict):
    """Limits of what a planner makes."""

    max_deliverables: Annotated[int, Field(ge=1, le=5000)] = 8
    default_budget_tokens: Annotated[int, Field(ge=1, le=1_000_000_000)] = 15_000
    prioritize_parallelism: bool = True


class Planner(Strict):
    """How a planner capsule turns an intent into deliverables."""

    prompt: Annotated[str, Field(min_length=1, max_length=20_000)]
    heuristics: Heuristics = Heuristics()


class Retry(Strict):
    """``max_attempts`` counts the first; the wait doubles from ``backoff_seconds`` on."""

    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    backoff_seconds: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)] = 1.0


class Step(Strict):
    """One step. ``needs`` absent means the step before it, ``[]`` none."""

    id: Name
    action: Annotated[str, Field(min_length=3, max_length=128)]
    params: dict[str, JsonValue] = Field(default_factory=dict)
    needs: Annotated[tuple[Name, ...], _LIST] | None = None
    when: Annotated[str, Field(min_length=1, max_length=4000)] | None = None
    retry: Retry | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)] | None = None
    save_as: Annotated[str, Field(pattern=FILE_NAME)] | None = None
    requires_approval: bool = False


class Workflow(Strict):
    """The steps, in the order in which a person reads them."""

    steps: Annotated[tuple[Step, ...], Field(strict=False, min_length=1, max_length=MAX_STEPS)]


CapsuleType = Literal["atomic", "composite", "utility", "planner", "governance"]


class CapsuleDefinition(Strict):
    """A capsule. Only a planner may do without a workflow of its own."""

    id: Annotated[str, Field(pattern=CAPSULE_ID)]
    version: Annotated[str, Field(max_length=128)]
    summary: Annotated[str, Field(min_length=1, max_length=2000)]
    type: CapsuleType
    persona: Persona | None = None
    inputs: Annotated[tuple[InputSpec, ...], Field(strict=False, max_length=200)] = ()
    outputs: dict[Name, JsonValue] = Field(default_factory=dict)
    tools: Annotated[tuple[ToolUse, ...], Field(strict=False, max_length=100)] = ()
    knowledge: Annotated[tuple[Knowledge, ...], Field(strict=False, max_length=100)] = ()
    policies: Policies = Policies()
    planner: Planner | None = None
    workflow: Workflow | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """The workflow's steps; none where there is no workflow."""
        return self.workflow.steps if self.workflow is not None else ()

    def step(self, step_id: str) -> Step:
        """The step called ``step_id``; raises KeyError where there is none."""
        for step in self.steps:
            if step.id == step_id:
                return step
        raise KeyError(step_id)

"""What Postgres asks Temporal to do. An order waits in the outbox until Temporal has been told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from somagent.domain.model import JsonObject, Model


class WorkflowOrder(Model):
    """Start a workflow under a deterministic id.

    Attributes:
        argument: the workflow's one argument as JSON.
        may_run_again: whether a closed run of the same id may be followed by another (a job's retry); its memo then
            tells the runs apart by ``epoch``.
        priority: 1 (first) to 5.
    """

    kind: Literal["workflow.start"] = "workflow.start"
    tenant_id: str
    workflow: str
    workflow_id: str
    argument: JsonObject
    summary: str
    details: str = ""
    status: str = "running"
    capsule: str | None = None
    session: str | None = None
    memo: dict[str, str] = Field(default_factory=dict)
    priority: Annotated[int, Field(ge=1, le=5)] = 3
    fairness_weight: float = 1.0
    may_run_again: bool = False


class SignalOrder(Model):
    """Signal or cancel a workflow. ``missing_ok``: one that has ended needs no telling."""

    kind: Literal["workflow.signal", "workflow.cancel"] = "workflow.signal"
    tenant_id: str
    workflow_id: str
    signal: str = ""
    argument: JsonObject | None = None
    missing_ok: bool = True


Order = Annotated[WorkflowOrder | SignalOrder, Field(discriminator="kind")]

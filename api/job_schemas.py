"""Bodies and views of jobs, as the API's reference shows them."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from somagent.domain.messages.jobs import JobStatus
from somagent.domain.model import JsonObject, Model
from somagent.domain.times import Timestamp
from somagent.services.jobs.requests import JobRequest


class View(BaseModel):
    """What is shown; written by Postgres itself, so this describes it."""

    model_config = ConfigDict(frozen=True)


class ProgressView(View):
    completed: int
    total: int
    current: str | None


class StepProblem(View):
    """Why a step or job failed: a problem without ``status``, because no HTTP answer failed."""

    type: str
    title: str
    code: str
    detail: str
    instance: str
    step_id: str | None = None


class StepView(View):
    id: str
    action: str
    status: Literal["pending", "running", "waiting", "completed", "failed", "skipped", "cancelled"]
    attempt: int
    started_at: Timestamp | None
    finished_at: Timestamp | None
    output: JsonValue
    error: StepProblem | None


class VoteView(View):
    by: str
    decision: Literal["approve", "reject"]
    reason: str | None
    created_at: Timestamp


class ApprovalView(View):
    """``digest`` is what a vote is bound to; ``what`` is what it was computed from."""

    id: UUID
    step_id: str
    question: str
    digest: str
    what: JsonObject
    quorum: int
    status: Literal["pending", "approved", "rejected", "withdrawn"]
    votes: list[VoteView]
    created_at: Timestamp
    decided_at: Timestamp | None


class UsageView(View):
    """``tokens`` are spent; ``reserved_tokens`` are held for calls under way."""

    tokens: int
    reserved_tokens: int
    cost: float


class ResultView(View):
    outputs: JsonObject


class JobView(View):
    """A job. In lists and right after its submission the parts with a default are left out."""

    id: UUID
    task: str
    status: JobStatus
    capsule_id: str | None
    version: str | None
    environment: str
    priority: int
    session_id: UUID | None = None
    parent_job_id: UUID | None = None
    submitted_by: str = ""
    progress: ProgressView
    steps: list[StepView] = Field(default_factory=list)
    result: ResultView | None = None
    error: StepProblem | None = None
    usage: UsageView | None = None
    approvals: list[ApprovalView] = Field(default_factory=list)
    inputs: JsonObject = Field(default_factory=dict)
    attachments: list[UUID] = Field(default_factory=list)
    budget_tokens: int
    workflow_id: str
    run_id: str | None
    temporal_ui_url: str = ""
    deadline: Timestamp | None
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None


class JobList(View):
    items: list[JobView]
    next_cursor: str | None


class BudgetChange(Model):
    budget_tokens: Annotated[int, Field(ge=0, le=1_000_000_000)]


class Decision(Model):
    """A vote on what the digest stands for."""

    decision: Literal["approve", "reject"]
    digest: Annotated[str, Field(min_length=1, max_length=128)]
    reason: Annotated[str, Field(max_length=4000)] | None = None


class TaskView(View):
    task: str
    summary: str
    payload_schema: JsonObject


class TaskList(View):
    items: list[TaskView]
    next_cursor: None = None


def task_list() -> TaskList:
    """The catalogue of tasks."""
    run = TaskView(
        task="capsule.run",
        summary="Runs an installed capsule",
        payload_schema=JobRequest.model_json_schema(),
    )
    return TaskList(items=[run])

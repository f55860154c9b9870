"""What workflows, activities and the SLM consumer tell each other about a job.

Results of steps never travel here: they lie in Postgres, and a message carries ids.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from somagent.domain.capsules.plan import JobPlan
from somagent.domain.model import Model

REQUEST_COMPLETION = "request_completion"
"""The activity that waits for a model's answer; the workflow starts it, and the relay looks for lost ones."""


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    KILLED = "killed"


UNFINISHED = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.WAITING, JobStatus.PAUSED)


class JobArgument(Model):
    """A job's workflow starts, and continues as new, with this.

    Attributes:
        epoch: how often the job was retried; a run of an older epoch can no longer write.
        settled: steps that are done already.
        approved: steps whose approval was given already.
        deadline: when the job fails with ``timed_out``; None for never.
        sees_steps_off: whether the job ends only once the worker of a cancelled step has let go of it.
    """

    job_id: str
    tenant_id: str
    plan: JobPlan
    epoch: int = 0
    settled: tuple[str, ...] = ()
    approved: tuple[str, ...] = ()
    deadline: datetime | None = None
    sees_steps_off: bool = False  # so is it in runs of before this was there; every new one has it


class WorkArgument(Model):
    """Steps to work on: a segment of light ones, or a single one.

    Attributes:
        approved: those that people were asked about.
        concludes: whether the job is completed once these are settled.
    """

    job_id: str
    tenant_id: str
    epoch: int
    steps: tuple[str, ...]
    concludes: bool = False
    approved: tuple[str, ...] = ()


class WorkOutcome(StrEnum):
    """How a piece of work came back."""

    DONE = "done"
    RETRY = "retry"  # a step failed and may be tried again after ``retry_after_seconds``
    FAILED = "failed"
    PAUSED = "paused"  # go on when woken
    EXHAUSTED = "exhausted"  # over the budget: go on when woken
    ENDED = "ended"  # the job was concluded elsewhere


class Failure(Model):
    """Why a step or a job failed."""

    code: str
    detail: str
    step_id: str | None = None


class WorkResult(Model):
    """What came of a piece of work. ``concluded``: the job itself is completed."""

    settled: tuple[str, ...] = ()
    outcome: WorkOutcome = WorkOutcome.DONE
    concluded: bool = False
    failure: Failure | None = None
    retry_after_seconds: float = 0.0


class ApprovalRequest(Model):
    """Ask people about a step: its own question, or leave for its effect."""

    job_id: str
    tenant_id: str
    epoch: int
    step_id: str


class ApprovalOpened(Model):
    """An approval that waits, or has been decided already."""

    approval_id: str
    status: str
    outcome: WorkOutcome = WorkOutcome.DONE
    failure: Failure | None = None
    retry_after_seconds: float = 0.0


class ApprovalDecision(Model):
    """One person's vote, as it arrives by update."""

    job_id: str
    tenant_id: str
    epoch: int
    approval_id: str
    user_id: str
    decision: str
    digest: str
    reason: str | None = None


class ApprovalStanding(Model):
    """How an approval stands after a vote. ``status``: pending, approved or rejected."""

    approval_id: str
    status: str
    failure: Failure | None = None


class ChildRequest(Model):
    """Open the job of a ``capsule.run`` step. ``approved``: people were asked about it."""

    job_id: str
    tenant_id: str
    epoch: int
    step_id: str
    approved: bool = False


class ChildOpened(Model):
    """The child's start argument, or why there is none. ``settled``: the step is done already."""

    argument: JobArgument | None = None
    capsule: str = ""
    settled: bool = False
    outcome: WorkOutcome = WorkOutcome.DONE
    failure: Failure | None = None


class ChildClosed(Model):
    """The child has ended: settle the step with its outputs, or fail it with its error."""

    job_id: str
    tenant_id: str
    epoch: int
    step_id: str
    child_job_id: str
    concludes: bool = False


class Conclusion(Model):
    """End the job: completed, failed or cancelled; compensations run where it is not completed."""

    job_id: str
    tenant_id: str
    epoch: int
    status: JobStatus
    failure: Failure | None = None


class JobResult(Model):
    """What the workflow itself returns; outputs lie in Postgres."""

    job_id: str
    status: JobStatus

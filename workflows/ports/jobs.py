"""The activities of a job, as its workflow sees them.

Failures that a capsule's author can provoke come back as results or as ``ApplicationError`` with a stable type; what is
left for Temporal to retry is our own trouble (a worker gone, Postgres away), and that is retried without end.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from somagent.domain.actions import Weight
from somagent.domain.messages.jobs import (
    REQUEST_COMPLETION,
    ApprovalDecision,
    ApprovalOpened,
    ApprovalRequest,
    ApprovalStanding,
    ChildClosed,
    ChildOpened,
    ChildRequest,
    Conclusion,
    Failure,
    WorkArgument,
    WorkResult,
)

RUN_SEGMENT = "run_segment"
RUN_STEP = "run_step"
RUN_SANDBOXED_STEP = "run_sandboxed_step"
OPEN_APPROVAL = "open_approval"
RECORD_VOTE = "record_vote"
OPEN_CHILD = "open_child"
CLOSE_CHILD = "close_child"
CONCLUDE_JOB = "conclude_job"

ACTIVITY_QUEUE = "soma-activities"
TOOL_QUEUE = "soma-tools"
SLM_QUEUE = "soma-slm"

LOCAL_SEGMENT_SECONDS = 2.0
"""A segment whose worst case is longer is a regular activity: during a long local one, updates wait."""

HEARTBEAT = timedelta(seconds=5)
LOCAL_TIMEOUT = timedelta(seconds=10)
PATIENTLY = RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10))


def retry_every(backoff_seconds: float) -> RetryPolicy:
    """The capsule's own back-off, doubled each time up to ten minutes; the activity itself says when to give up.

    One that is longer than that from the first stays as it is: Temporal refuses a longest wait below the first.
    """
    initial = timedelta(seconds=max(backoff_seconds, 0.2))
    longest = max(initial, timedelta(minutes=10))
    return RetryPolicy(initial_interval=initial, backoff_coefficient=2.0, maximum_interval=longest)


@dataclass(frozen=True, slots=True)
class Road:
    """How a single step of some weight reaches its worker. ``margin`` is added to the step's own time limit."""

    activity: str
    queue: str
    heartbeat: timedelta | None
    margin: timedelta


ROADS: dict[Weight, Road] = {
    Weight.HEAVY: Road(RUN_STEP, ACTIVITY_QUEUE, HEARTBEAT, timedelta(seconds=30)),
    Weight.SANDBOXED: Road(RUN_SANDBOXED_STEP, TOOL_QUEUE, HEARTBEAT, timedelta(seconds=30)),
    # A request waits in the queue while others are before it, and nobody can heartbeat for it there.
    Weight.SLM: Road(REQUEST_COMPLETION, SLM_QUEUE, None, timedelta(hours=1)),
}


class JobActivities(ABC):
    """What a job's workflow asks of the world."""

    @activity.defn(name=RUN_SEGMENT)
    @abstractmethod
    async def run_segment(self, argument: WorkArgument) -> WorkResult:
        """Run light steps one after another, each with its own checkpoint."""

    @activity.defn(name=OPEN_APPROVAL)
    @abstractmethod
    async def open_approval(self, request: ApprovalRequest) -> ApprovalOpened:
        """Ask people; the approval is bound to the digest of what will run."""

    @activity.defn(name=RECORD_VOTE)
    @abstractmethod
    async def record_vote(self, decision: ApprovalDecision) -> ApprovalStanding:
        """Write one person's vote, and the decision once there are enough."""

    @activity.defn(name=OPEN_CHILD)
    @abstractmethod
    async def open_child(self, request: ChildRequest) -> ChildOpened:
        """Make the job of a ``capsule.run`` step."""

    @activity.defn(name=CLOSE_CHILD)
    @abstractmethod
    async def close_child(self, closed: ChildClosed) -> WorkResult:
        """Settle a ``capsule.run`` step from its ended child."""

    @activity.defn(name=CONCLUDE_JOB)
    @abstractmethod
    async def conclude_job(self, conclusion: Conclusion) -> Failure | None:
        """End the job, with compensation where it did not complete; the failure it ended with."""


class StepActivities(ABC):
    """Single steps: one activity each, on ``soma-activities``."""

    @activity.defn(name=RUN_STEP)
    @abstractmethod
    async def run_step(self, argument: WorkArgument) -> WorkResult:
        """Run one heavy step."""


class SandboxedActivities(ABC):
    """Steps that run programs, on ``soma-tools``, so that they scale and are confined on their own."""

    @activity.defn(name=RUN_SANDBOXED_STEP)
    @abstractmethod
    async def run_sandboxed_step(self, argument: WorkArgument) -> WorkResult:
        """Run one step in the sandbox."""


class ModelActivities(ABC):
    """Steps that ask a model, on ``soma-slm``."""

    @activity.defn(name=REQUEST_COMPLETION)
    @abstractmethod
    async def request_completion(self, argument: WorkArgument) -> WorkResult:
        """Queue a model request; the SLM consumer ends this activity once the answer is stored."""

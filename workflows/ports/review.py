"""What a review asks of Postgres and of the checks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from somagent.domain.messages.review import (
    CheckReport,
    CheckRequest,
    FindingsReport,
    Reminder,
    ReviewSnapshot,
    SubmissionRef,
    VoteOrder,
)
from somagent.workflows.ports.options import CallOptions

CHECK = "capsule_review.check"
STORE_FINDINGS = "capsule_review.store_findings"
RECORD_VOTE = "capsule_review.record_vote"
REMIND = "capsule_review.remind"
EXPIRE = "capsule_review.expire"

# A review outlives any outage of Postgres: it goes on asking, and gives up only on what cannot pass.
REVIEW_ACTIVITY = CallOptions(
    task_queue="soma-activities",
    start_to_close_timeout=timedelta(seconds=30),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=200), backoff_coefficient=2, maximum_interval=timedelta(seconds=30)
    ),
)
# A reviewer waits for the answer: past this the vote is refused as retryable, and counted when it is repeated.
VOTE_ACTIVITY = CallOptions(
    task_queue="soma-activities",
    start_to_close_timeout=timedelta(seconds=10),
    schedule_to_close_timeout=timedelta(minutes=2),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=100), backoff_coefficient=2, maximum_interval=timedelta(seconds=5)
    ),
)


class ReviewActivities(ABC):
    """Each is one transaction, and the same again when it is repeated."""

    @activity.defn(name=CHECK)
    @abstractmethod
    async def check(self, request: CheckRequest) -> CheckReport:
        """Run one automated check over the definition as it stands."""

    @activity.defn(name=STORE_FINDINGS)
    @abstractmethod
    async def store_findings(self, report: FindingsReport) -> ReviewSnapshot:
        """Store all findings, unless the definition was replaced meanwhile; the snapshot says so."""

    @activity.defn(name=RECORD_VOTE)
    @abstractmethod
    async def record_vote(self, order: VoteOrder) -> ReviewSnapshot:
        """Store the vote, the status that follows from it, and the event.

        Raises:
            ApplicationError: type ``submission_decided``, ``review_not_ready`` or ``already_voted``.
        """

    @activity.defn(name=REMIND)
    @abstractmethod
    async def remind(self, reminder: Reminder) -> ReviewSnapshot:
        """Remind the reviewers of a pending submission."""

    @activity.defn(name=EXPIRE)
    @abstractmethod
    async def expire(self, submission: SubmissionRef) -> ReviewSnapshot:
        """Let a pending submission whose deadline has passed expire."""

"""What a proposal's workflow asks of Postgres."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from somagent.domain.messages.constitution import BallotOrder, ProposalRef, ProposalReminder, ProposalSnapshot
from somagent.workflows.ports.options import CallOptions

EXAMINE = "constitution.examine"
RECORD_BALLOT = "constitution.record_ballot"
REMIND = "constitution.remind"
EXPIRE = "constitution.expire"

# A proposal outlives any outage of Postgres: it goes on asking, and gives up only on what cannot pass. That holds for
# a vote, too: its voter is told after five seconds that it is pending, and the same request again finds it counted.
PROPOSAL_ACTIVITY = CallOptions(
    task_queue="soma-activities",
    start_to_close_timeout=timedelta(seconds=30),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=200), backoff_coefficient=2, maximum_interval=timedelta(seconds=15)
    ),
)


class ConstitutionActivities(ABC):
    """Each is one transaction, and the same again when it is repeated."""

    @activity.defn(name=EXAMINE)
    @abstractmethod
    async def examine(self, proposal: ProposalRef) -> ProposalSnapshot:
        """Check content, signature and version, rehearse it on recorded decisions, and store what was found."""

    @activity.defn(name=RECORD_BALLOT)
    @abstractmethod
    async def record_ballot(self, order: BallotOrder) -> ProposalSnapshot:
        """Store a vote, and what follows from it: the vote that completes the quorum brings it into force.

        Raises:
            ApplicationError: type ``proposal_decided``, ``proposal_not_ready``, ``already_voted``,
                ``blocking_findings``.
        """

    @activity.defn(name=REMIND)
    @abstractmethod
    async def remind(self, reminder: ProposalReminder) -> ProposalSnapshot:
        """Remind the approvers of a pending proposal."""

    @activity.defn(name=EXPIRE)
    @abstractmethod
    async def expire(self, proposal: ProposalRef) -> ProposalSnapshot:
        """Let a pending proposal whose deadline has passed expire."""

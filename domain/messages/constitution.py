"""What a proposal's workflow, its activities and the API tell each other."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from somagent.domain.model import Model

CONSTITUTION_WORKFLOW: Final = "ConstitutionUpdateWorkflow"
CAST_VOTE: Final = "cast_vote"
PROPOSAL_CLOSED: Final = "proposal_closed"

VOTING_PERIOD: Final = timedelta(days=14)
REMINDER_EVERY: Final = timedelta(hours=24)
DEFAULT_QUORUM: Final = 2
LARGEST_QUORUM: Final = 20
QUORUM_SETTING: Final = "constitution_quorum"
"""The tenant's setting that says how many distinct people have to approve."""


class ProposalStatus(StrEnum):
    """Where a proposal stands."""

    PENDING = "pending"
    ACTIVATED = "activated"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"  # an equal or higher version came into force first
    FAILED = "failed"  # approved, but no longer verifiable when it was to come into force


class BallotDecision(StrEnum):
    """What an approver says."""

    APPROVE = "approve"
    REJECT = "reject"


class ProposalRef(Model):
    """A proposal, and whose it is."""

    proposal_id: str
    tenant_id: str


class ProposalFinding(Model):
    """What the examination found: severity info, warning or blocking; ``path`` is where in the content."""

    check: str
    severity: str
    code: str
    detail: str
    path: str = ""


class Ballot(Model):
    """A person's vote.

    Attributes:
        ready: whether Postgres had the findings when the vote was cast. The workflow may hear of them a moment after
            the voter does; such a vote waits for that moment.
    """

    voter: str
    decision: BallotDecision
    reason: str | None = None
    ready: bool = False


class BallotOrder(Model):
    """A vote to be counted."""

    proposal: ProposalRef
    ballot: Ballot


class ProposalReminder(Model):
    """The reminder of a day: ``number`` counts from 1."""

    proposal: ProposalRef
    number: int


class ProposalClosed(Model):
    """The signal that a proposal was withdrawn or superseded."""

    status: ProposalStatus


class ProposalSnapshot(Model):
    """A proposal's row and votes, as the transaction that returned it left them."""

    status: ProposalStatus
    deadline: datetime
    quorum: int
    findings_ready: bool
    blocking: int
    approvals: tuple[str, ...] = ()
    rejections: tuple[str, ...] = ()

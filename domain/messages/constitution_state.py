"""What a proposal's workflow knows, and the rule of its votes.

Approvals of distinct people up to the quorum bring the constitution into force; one rejection rejects it; the proposer
has no vote.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict

from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.constitution import (
    DEFAULT_QUORUM,
    Ballot,
    BallotDecision,
    ProposalRef,
    ProposalSnapshot,
    ProposalStatus,
)
from somagent.domain.model import Model


class ProposalState(Model):
    """All that the workflow knows; its argument, too, so that it continues as new with the same.

    Attributes:
        deadline: when an undecided proposal expires.
        next_reminder: when the approvers are reminded next.
        blocking: how many findings are blocking.
    """

    model_config = ConfigDict(frozen=False, extra="forbid")

    proposal_id: str
    tenant_id: str
    version: int
    proposer: str
    deadline: datetime
    quorum: int = DEFAULT_QUORUM
    status: ProposalStatus = ProposalStatus.PENDING
    findings_ready: bool = False
    blocking: int = 0
    approvals: tuple[str, ...] = ()
    rejections: tuple[str, ...] = ()
    reminders: int = 0
    next_reminder: datetime | None = None

    @property
    def ref(self) -> ProposalRef:
        """The proposal this is about."""
        return ProposalRef(proposal_id=self.proposal_id, tenant_id=self.tenant_id)

    @property
    def open(self) -> bool:
        """Whether votes can still change anything."""
        return self.status is ProposalStatus.PENDING

    def absorb(self, snapshot: ProposalSnapshot) -> None:
        """Take over what Postgres holds; what is closed stays so."""
        if not self.open:
            return
        self.status = snapshot.status
        self.deadline = snapshot.deadline
        self.quorum = snapshot.quorum
        self.findings_ready = snapshot.findings_ready
        self.blocking = snapshot.blocking
        self.approvals = snapshot.approvals
        self.rejections = snapshot.rejections

    def close(self, status: ProposalStatus) -> None:
        """It was withdrawn or superseded."""
        if self.open:
            self.status = status

    def awaits_findings(self, ballot: Ballot) -> bool:
        """Whether the findings that the voter has read are on their way here."""
        return self.open and ballot.ready and not self.findings_ready

    def check(self, ballot: Ballot) -> None:
        """Refuse a vote that cannot count.

        Raises:
            SomaError: ``self_approval_forbidden``, ``proposal_decided``, ``already_voted``, ``proposal_not_ready`` or
                ``blocking_findings``.
        """
        if ballot.voter == self.proposer:
            raise own_proposal()
        if not self.open:
            raise proposal_decided(self.status)
        if ballot.voter in self.approvals or ballot.voter in self.rejections:
            raise voted_already()
        if not self.findings_ready:
            raise proposal_not_ready()
        if ballot.decision is BallotDecision.APPROVE and self.blocking:
            raise blocked(self.blocking)


def own_proposal() -> SomaError:
    """The refusal of the proposer's own vote."""
    return SomaError(
        Code.SELF_APPROVAL_FORBIDDEN,
        "You proposed this constitution; others with constitution:approve have to decide it. You may withdraw it.",
    )


def proposal_decided(status: str) -> SomaError:
    """The refusal of what comes too late."""
    return SomaError(Code.PROPOSAL_DECIDED, f"The proposal is {status}; nothing about it can be decided any more.")


def voted_already() -> SomaError:
    """The refusal of a second vote."""
    return SomaError(Code.ALREADY_VOTED, "You have voted on this proposal already; each person has one vote.")


def proposal_not_ready() -> SomaError:
    """The refusal of a vote before the findings."""
    return SomaError(
        Code.PROPOSAL_NOT_READY,
        "The findings on this proposal are not in yet. Read them first, then vote.",
        retry_after=1,
    )


def blocked(count: int) -> SomaError:
    """The refusal of an approval over blocking findings."""
    noun = "finding stands" if count == 1 else "findings stand"
    return SomaError(
        Code.BLOCKING_FINDINGS,
        f"{count} blocking {noun} against it. Reject it, or have it withdrawn and proposed again without them.",
    )

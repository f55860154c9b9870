"""What a review knows, and the rule of its votes.

Approvals up to the quorum approve; one rejection rejects; the submitter has no vote.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import ConfigDict

from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.review import (
    Decision,
    ReviewSnapshot,
    SubmissionChange,
    SubmissionRef,
    SubmissionStatus,
    Vote,
)
from somagent.domain.model import Model


class ReviewState(Model):
    """All that a review workflow knows; its argument, too, so that it continues as new with the same.

    Attributes:
        deadline: when an undecided submission expires.
        next_reminder: when reviewers are reminded next.
        blocking: how many findings are blocking.
    """

    model_config = ConfigDict(frozen=False, extra="forbid")

    submission_id: str
    tenant_id: str
    capsule_id: str
    version: str
    submitter: str
    deadline: datetime
    quorum: int = 1
    revision: int = 1
    status: SubmissionStatus = SubmissionStatus.PENDING
    findings_ready: bool = False
    blocking: int = 0
    approvals: tuple[str, ...] = ()
    rejections: tuple[str, ...] = ()
    reminders: int = 0
    next_reminder: datetime | None = None

    @property
    def ref(self) -> SubmissionRef:
        """The submission this is about."""
        return SubmissionRef(submission_id=self.submission_id, tenant_id=self.tenant_id)

    @property
    def open(self) -> bool:
        """Whether votes can still change anything."""
        return self.status is SubmissionStatus.PENDING

    def absorb(self, snapshot: ReviewSnapshot) -> None:
        """Take over what Postgres holds; an older revision than ours is old news."""
        if snapshot.revision < self.revision:
            return
        if snapshot.revision > self.revision:
            self._begin_revision(snapshot.revision)
        self.status = snapshot.status
        self.deadline = snapshot.deadline
        self.quorum = snapshot.quorum
        self.findings_ready = snapshot.findings_ready
        self.blocking = snapshot.blocking
        self.approvals = snapshot.approvals
        self.rejections = snapshot.rejections

    def change(self, change: SubmissionChange) -> None:
        """Take over what the submitter did."""
        if change.revision < self.revision or not self.open:
            return
        if change.revision > self.revision:
            self._begin_revision(change.revision)
            self.deadline = change.deadline
        self.status = change.status

    def awaits_findings(self, vote: Vote) -> bool:
        """Whether the findings that the voter has read are on their way here."""
        behind = not self.findings_ready or vote.revision > self.revision
        return self.open and vote.ready and vote.revision >= self.revision and behind

    def check(self, vote: Vote) -> None:
        """Refuse a vote that cannot count.

        Raises:
            SomaError: ``self_review_forbidden``, ``submission_decided``, ``already_voted``, ``review_not_ready``
                or ``blocking_findings``.
        """
        if vote.reviewer == self.submitter:
            raise self_review_forbidden()
        if not self.open:
            raise submission_decided(self.status)
        if vote.reviewer in self.approvals or vote.reviewer in self.rejections:
            raise already_voted()
        if not self.findings_ready or vote.revision != self.revision:
            raise review_not_ready()
        if vote.decision is Decision.APPROVE and self.blocking and not vote.is_override:
            raise blocking_findings(self.blocking)

    def _begin_revision(self, revision: int) -> None:
        self.revision = revision
        self.findings_ready = False
        self.blocking = 0
        self.approvals = ()
        self.rejections = ()
        self.reminders = 0
        self.next_reminder = None


def self_review_forbidden() -> SomaError:
    """The refusal of the submitter's own vote."""
    return SomaError(
        Code.SELF_REVIEW_FORBIDDEN, "You submitted this capsule; somebody else with capsule:review has to review it."
    )


def submission_decided(status: str) -> SomaError:
    """The refusal of a vote that comes too late."""
    return SomaError(Code.SUBMISSION_DECIDED, f"The submission is {status}; nothing about it can be decided any more.")


def already_voted() -> SomaError:
    """The refusal of a second vote."""
    return SomaError(Code.ALREADY_VOTED, "You have voted on this revision already; each reviewer has one vote.")


def review_not_ready() -> SomaError:
    """The refusal of a vote before the findings."""
    return SomaError(
        Code.REVIEW_NOT_READY,
        "The automated findings on this revision are not in yet. Read them first, then vote.",
        retry_after=1,
    )


def blocking_findings(count: int) -> SomaError:
    """The refusal of an approval over blocking findings."""
    noun = "finding" if count == 1 else "findings"
    return SomaError(
        Code.BLOCKING_FINDINGS,
        f"{count} blocking {noun} stand against approval. Reject it, or approve with is_override "
        "(needs capability capsule:override).",
    )

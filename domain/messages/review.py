"""What a capsule's review workflow, its activities and the API tell each other."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from somagent.domain.model import Model

REVIEW_WORKFLOW: Final = "CapsuleReviewWorkflow"
CAST_VOTE: Final = "cast_vote"
SUBMISSION_CHANGED: Final = "submission_changed"

REVIEW_PERIOD: Final = timedelta(days=14)
REMINDER_EVERY: Final = timedelta(hours=24)


class SubmissionStatus(StrEnum):
    """Where a submission stands. A recalled one was approved before."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    RECALLED = "recalled"


class Decision(StrEnum):
    """What a reviewer says."""

    APPROVE = "approve"
    REJECT = "reject"


class Check(StrEnum):
    """The automated checks, each an activity of its own."""

    SCHEMA = "schema"
    LINT = "lint"
    ATTESTATION = "attestation"
    POLICY_SCAN = "policy_scan"
    DAG = "dag"
    DRY_RUN = "dry_run"


class SubmissionRef(Model):
    """A submission, and whose it is."""

    submission_id: str
    tenant_id: str


class CheckRequest(Model):
    """One check of the definition as it stands now."""

    submission: SubmissionRef
    check: Check


class ReviewFinding(Model):
    """What a check found: severity info, warning or blocking; ``path`` is where in the definition."""

    check: str
    severity: str
    code: str
    detail: str
    path: str = ""


class CheckReport(Model):
    """A check's findings, and the revision it looked at."""

    revision: int
    findings: tuple[ReviewFinding, ...] = ()


class FindingsReport(Model):
    """All findings of one revision, to be stored."""

    submission: SubmissionRef
    revision: int
    findings: tuple[ReviewFinding, ...] = ()


class Vote(Model):
    """A reviewer's decision on one revision.

    Attributes:
        vote_id: the same when the same request is repeated.
        ready: whether Postgres had the findings already when the vote was cast. The workflow may hear of them a moment
            after the reviewer does; such a vote waits for that moment.
    """

    vote_id: str
    revision: int
    reviewer: str
    decision: Decision
    notes: str | None = None
    is_override: bool = False
    ready: bool = False


class VoteOrder(Model):
    """A vote to be counted."""

    submission: SubmissionRef
    vote: Vote


class Reminder(Model):
    """The reminder of a day: ``number`` counts from 1 within a revision."""

    submission: SubmissionRef
    revision: int
    number: int


class ReviewSnapshot(Model):
    """A submission's row and votes, as the transaction that returned it left them."""

    status: SubmissionStatus
    revision: int
    deadline: datetime
    quorum: int
    findings_ready: bool
    blocking: int
    approvals: tuple[str, ...] = ()
    rejections: tuple[str, ...] = ()


class SubmissionChange(Model):
    """The signal that the submitter has replaced or withdrawn the submission."""

    status: SubmissionStatus
    revision: int
    deadline: datetime

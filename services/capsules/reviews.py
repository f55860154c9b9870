"""What a review workflow does in Postgres: one transaction each, and the same again when it is repeated."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.tables import ReviewVote, Submission
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.review import (
    Decision,
    FindingsReport,
    Reminder,
    ReviewSnapshot,
    SubmissionRef,
    SubmissionStatus,
    Vote,
    VoteOrder,
)
from somagent.domain.messages.review_state import ReviewState
from somagent.domain.model import JsonObject
from somagent.services.capsules.reading import votes_on
from somagent.services.capsules.records import account_for, notify

BLOCKING = "blocking"


async def store_findings(session: AsyncSession, report: FindingsReport) -> ReviewSnapshot:
    """Store the findings of a revision, unless it was replaced or decided meanwhile."""
    row = await _locked(session, report.submission)
    if row.status == SubmissionStatus.PENDING and row.revision == report.revision and not row.findings_ready:
        row.findings = [finding.model_dump() for finding in report.findings]
        row.findings_ready = True
        row.updated_at = datetime.now(UTC)
        await session.flush()
        await notify(
            session,
            row.tenant_id,
            f"review-{row.id}:r{row.revision}:ready",
            f"{row.capsule_id} {row.version} by {row.submitter} waits for review.",
        )
    return await snapshot(session, row)


async def record_vote(session: AsyncSession, order: VoteOrder) -> ReviewSnapshot:
    """Store a vote, the status that follows from it, and the event.

    Raises:
        SomaError: as :meth:`ReviewState.check`, when the row has moved on.
    """
    row = await _locked(session, order.submission)
    vote = order.vote
    if await session.get(ReviewVote, UUID(vote.vote_id)) is not None:
        return await snapshot(session, row)
    _state(row, await snapshot(session, row)).check(vote)
    session.add(
        ReviewVote(
            id=UUID(vote.vote_id),
            tenant_id=row.tenant_id,
            submission_id=row.id,
            revision=vote.revision,
            reviewer=vote.reviewer,
            decision=vote.decision.value,
            notes=vote.notes,
            is_override=vote.is_override,
        )
    )
    await session.flush()
    counted = await snapshot(session, row)
    kind = "capsule.submission.voted"
    await account_for(session, row.tenant_id, vote.reviewer, kind, f"submission:{row.id}", _voted(row, vote))
    if counted.rejections or len(counted.approvals) >= row.quorum:
        status = SubmissionStatus.REJECTED if counted.rejections else SubmissionStatus.APPROVED
        await _decide(session, row, status, vote.reviewer, f"{status.value} by {vote.reviewer}")
    return await snapshot(session, row)


async def remind(session: AsyncSession, reminder: Reminder) -> ReviewSnapshot:
    """Remind the reviewers of a submission that still waits."""
    row = await _locked(session, reminder.submission)
    if row.status == SubmissionStatus.PENDING and row.revision == reminder.revision:
        await notify(
            session,
            row.tenant_id,
            f"review-{row.id}:r{reminder.revision}:reminder:{reminder.number}",
            f"{row.capsule_id} {row.version} by {row.submitter} still waits for review; it expires on "
            f"{row.deadline.astimezone(UTC):%Y-%m-%d %H:%M} UTC.",
            severity="warning",
        )
    return await snapshot(session, row)


async def expire(session: AsyncSession, submission: SubmissionRef) -> ReviewSnapshot:
    """Let a submission expire that nobody decided in time. The workflow's timer says that it is time."""
    row = await _locked(session, submission)
    if row.status == SubmissionStatus.PENDING:
        await _decide(session, row, SubmissionStatus.EXPIRED, "somagent", "expired without a decision")
    return await snapshot(session, row)


async def snapshot(session: AsyncSession, row: Submission) -> ReviewSnapshot:
    """The row and its votes, for the workflow."""
    votes = await votes_on(session, row)
    return ReviewSnapshot(
        status=SubmissionStatus(row.status),
        revision=row.revision,
        deadline=row.deadline,
        quorum=row.quorum,
        findings_ready=row.findings_ready,
        blocking=sum(finding["severity"] == BLOCKING for finding in row.findings),
        approvals=tuple(vote.reviewer for vote in votes if vote.decision == Decision.APPROVE),
        rejections=tuple(vote.reviewer for vote in votes if vote.decision == Decision.REJECT),
    )


async def _locked(session: AsyncSession, ref: SubmissionRef) -> Submission:
    query = select(Submission).where(Submission.id == UUID(ref.submission_id), Submission.tenant_id == ref.tenant_id)
    row = await session.scalar(query.with_for_update())
    if row is None:
        raise SomaError(Code.NOT_FOUND, f"There is no submission {ref.submission_id}.")
    return row


async def _decide(session: AsyncSession, row: Submission, status: SubmissionStatus, actor: str, how: str) -> None:
    row.status = status.value
    row.decided_at = row.updated_at = datetime.now(UTC)
    await session.flush()
    data: JsonObject = {
        "submission_id": str(row.id),
        "capsule_id": row.capsule_id,
        "version": row.version,
        "status": status.value,
    }
    kind = f"capsule.submission.{status.value}"
    await account_for(session, row.tenant_id, actor, kind, f"submission:{row.id}", data)
    await notify(
        session,
        row.tenant_id,
        f"review-{row.id}:decided",
        f"{row.capsule_id} {row.version}: {how}.",
        severity="info" if status is SubmissionStatus.APPROVED else "warning",
        user_id=row.submitter,
    )


def _state(row: Submission, known: ReviewSnapshot) -> ReviewState:
    return ReviewState(
        submission_id=str(row.id),
        tenant_id=row.tenant_id,
        capsule_id=row.capsule_id,
        version=row.version,
        submitter=row.submitter,
        **known.model_dump(),
    )


def _voted(row: Submission, vote: Vote) -> JsonObject:
    return {
        "submission_id": str(row.id),
        "capsule_id": row.capsule_id,
        "version": row.version,
        "revision": vote.revision,
        "reviewer": vote.reviewer,
        "decision": vote.decision.value,
        "is_override": vote.is_override,
        "notes": vote.notes,
    }

"""Submissions: capsules handed in for review, and the votes on them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from somagent.adapters.postgres.tables import ReviewVote, Submission
from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    Page,
    PageDep,
    StateDep,
    Timestamp,
    created,
    creating,
    fetch_page,
    json_response,
    require,
    requires,
    soma_router,
)
from somagent.api.following import telling
from somagent.domain.messages.review import ReviewFinding, SubmissionStatus
from somagent.domain.model import JsonObject, Model
from somagent.services.capsules import submissions, voting
from somagent.services.capsules.attestation import restored
from somagent.services.capsules.reading import reviewed

router = soma_router("task-capsule-repo")

Reader = Annotated[Caller, Depends(requires("capsule:read"))]
Submitter = Annotated[Caller, Depends(requires("capsule:submit"))]
Reviewer = Annotated[Caller, Depends(requires("capsule:review"))]


class VoteView(Model):
    """One reviewer's vote on the current revision."""

    reviewer: str
    decision: str
    notes: str | None
    is_override: bool
    created_at: Timestamp


class SubmissionSummary(Model):
    """A submission in a list."""

    id: UUID
    capsule_id: str
    version: str
    owner: str
    summary: str
    type: str
    attestation_hash: str
    signer_key_id: str | None
    tenant_scope: str
    status: SubmissionStatus
    submitter: str
    quorum: int = Field(description="Approvals that it takes; one rejection rejects")
    revision: int = Field(description="1, and one more with each replacement")
    findings_ready: bool = Field(description="Whether votes are taken yet")
    deadline: Timestamp = Field(description="When it expires undecided")
    workflow_id: str
    created_at: Timestamp
    updated_at: Timestamp
    decided_at: Timestamp | None


class SubmissionView(SubmissionSummary):
    """A submission with all that reviewers read."""

    definition: JsonObject
    attestation_signature: str | None
    findings: list[ReviewFinding]
    votes: list[VoteView]


@router.post("/v1/submissions", status_code=202, response_model=SubmissionView)
async def submit(
    request: Request, body: submissions.NewSubmission, state: StateDep, caller: Submitter, key: IdempotencyKey = None
) -> Response:
    """Hand in a capsule. Its review begins at once: automated findings first, then votes."""

    async def make(session: AsyncSession) -> Answer:
        row, recorded = await submissions.submit(session, state.folder, caller, body)
        return created(
            202, _view(row, ()), location=f"/v1/submissions/{row.id}", after_commit=(telling(state, recorded),)
        )

    return await creating(request, caller, key, body, make)


@router.get("/v1/submissions")
async def list_submissions(
    state: StateDep,
    page: PageDep,
    caller: Reader,
    status: Annotated[SubmissionStatus | None, Query(description="Only those of this status")] = None,
    capsule_id: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[SubmissionSummary]:
    """The tenant's own submissions, newest first."""
    query = select(Submission).where(Submission.tenant_id == caller.tenant_id)
    if status is not None:
        query = query.where(Submission.status == status.value)
    if capsule_id is not None:
        query = query.where(Submission.capsule_id == capsule_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        return await fetch_page(
            session, query, page, Submission.created_at, Submission.id, lambda row: _summary(row[0])
        )


@router.get("/v1/submissions/{submission_id}")
async def read(submission_id: UUID, state: StateDep, caller: Reader) -> SubmissionView:
    """One submission: definition, findings, votes, deadline."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        found = await reviewed(session, caller.tenant_id, submission_id)
        return _view(found.submission, found.votes)


@router.put("/v1/submissions/{submission_id}", response_model=SubmissionView)
async def replace(submission_id: UUID, body: submissions.Replacement, state: StateDep, caller: Submitter) -> Response:
    """Replace a pending submission (its submitter only): a new revision, examined anew, without votes."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        row, recorded = await submissions.replace(session, caller, submission_id, body)
        view = _view(row, ())
    response = json_response(view)
    response.background = BackgroundTask(telling(state, recorded))
    return response


@router.delete("/v1/submissions/{submission_id}", status_code=204)
async def withdraw(submission_id: UUID, state: StateDep, caller: Submitter) -> Response:
    """Withdraw a pending submission (its submitter only). It stays readable, with status withdrawn."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        _, recorded = await submissions.withdraw(session, caller, submission_id)
    return Response(status_code=204, background=BackgroundTask(telling(state, recorded)))


@router.post("/v1/submissions/{submission_id}/review", response_model=SubmissionView)
async def review(
    request: Request,
    submission_id: UUID,
    body: voting.NewVote,
    state: StateDep,
    caller: Reviewer,
    key: IdempotencyKey = None,
) -> Response:
    """Vote. Approvals up to the quorum approve, one rejection rejects; the answer holds the new status.

    With 503 `decision_pending` send the same request again: its answer is the truth.
    """
    if body.is_override:
        require(caller, "capsule:override")

    async def make(_: AsyncSession) -> Answer:
        found = await voting.vote(state.app_db, state.temporal, caller, submission_id, body, key)
        return created(200, _view(found.submission, found.votes))

    return await creating(request, caller, key, body, make)


def _summary(row: Submission) -> SubmissionSummary:
    return SubmissionSummary(**_fields(row))


def _view(row: Submission, votes: tuple[ReviewVote, ...]) -> SubmissionView:
    return SubmissionView(
        **_fields(row),
        definition=restored(row.definition),
        attestation_signature=row.attestation_signature,
        findings=[ReviewFinding.model_validate(finding) for finding in row.findings or []],
        votes=[
            VoteView(
                reviewer=vote.reviewer,
                decision=vote.decision,
                notes=vote.notes,
                is_override=vote.is_override,
                created_at=vote.created_at,
            )
            for vote in votes
        ],
    )


def _fields(row: Submission) -> dict[str, object]:
    return {name: getattr(row, name) for name in SubmissionSummary.model_fields}

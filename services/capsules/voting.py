"""A reviewer's decision: an update of the waiting workflow, so that the answer holds the new status."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID, uuid5

from pydantic import Field
from temporalio.client import Client

from somagent.adapters.postgres.database import Database
from somagent.adapters.postgres.tables import ReviewVote
from somagent.domain.caller import Caller
from somagent.domain.messages.review import CAST_VOTE, Decision, ReviewSnapshot, SubmissionStatus, Vote
from somagent.domain.messages.review_state import (
    already_voted,
    review_not_ready,
    self_review_forbidden,
    submission_decided,
)
from somagent.domain.model import Model
from somagent.services.capsules.reading import Reviewed, reviewed
from somagent.services.updates import WorkflowGoneError, ask

_VOTES = UUID("6d1a2b0e-0f6c-5a53-9a5e-5d9c4f0f7a11")


class NewVote(Model):
    """A reviewer's decision."""

    decision: Decision
    notes: Annotated[str, Field(max_length=4000)] | None = None
    is_override: bool = False


async def vote(
    database: Database, client: Client, caller: Caller, submission_id: UUID, new: NewVote, idempotency_key: str | None
) -> Reviewed:
    """Cast the caller's vote, and give the submission as it stands after it.

    Raises:
        SomaError: ``not_found``, ``self_review_forbidden``, ``submission_decided``, ``already_voted``,
            ``review_not_ready``, ``blocking_findings``; ``decision_pending`` when there is no answer in time: the
            same request again gives the truth.
    """
    async with database.tenant(caller.tenant_id) as session:
        before = await reviewed(session, caller.tenant_id, submission_id)
        cast = _vote(before, caller, new, idempotency_key)
        repeated = idempotency_key is not None and await session.get(ReviewVote, UUID(cast.vote_id)) is not None
    if repeated:
        return before
    _refuse_early(before, caller)
    try:
        await ask(client, before.submission.workflow_id, CAST_VOTE, cast, cast.vote_id, ReviewSnapshot)
    except WorkflowGoneError:
        return await _truth(database, caller, submission_id, cast)
    async with database.tenant(caller.tenant_id) as session:
        return await reviewed(session, caller.tenant_id, submission_id)


def _vote(before: Reviewed, caller: Caller, new: NewVote, idempotency_key: str | None) -> Vote:
    row = before.submission
    what = f"key:{idempotency_key}" if idempotency_key else f"revision:{row.revision}:{new.decision.value}"
    return Vote(
        vote_id=str(uuid5(_VOTES, f"{row.id}:{caller.user_id}:{what}")),
        revision=row.revision,
        reviewer=caller.user_id,
        decision=new.decision,
        notes=new.notes,
        is_override=new.is_override,
        ready=row.findings_ready,
    )


def _refuse_early(before: Reviewed, caller: Caller) -> None:
    """What the row alone can refuse, with Temporal up or down."""
    row = before.submission
    if row.submitter == caller.user_id:
        raise self_review_forbidden()
    if row.status != SubmissionStatus.PENDING:
        raise submission_decided(row.status)
    if any(vote.reviewer == caller.user_id for vote in before.votes):
        raise already_voted()
    if not row.findings_ready:
        raise review_not_ready()


async def _truth(database: Database, caller: Caller, submission_id: UUID, cast: Vote) -> Reviewed:
    async with database.tenant(caller.tenant_id) as session:
        after = await reviewed(session, caller.tenant_id, submission_id)
        counted = await session.get(ReviewVote, UUID(cast.vote_id)) is not None
    if counted:
        return after
    if after.submission.status != SubmissionStatus.PENDING:
        raise submission_decided(after.submission.status)
    raise review_not_ready()

"""A reviewer's decision: an update of the waiting workflow, so that the answer holds the new status."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID, uuid5

from pydantic import Field
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from somagent.adapters.postgres.database import Database
from somagent.adapters.postgres.tables import ReviewVote
from somagent.adapters.temporal.client import execute_update, is_undecided
from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.review import CAST_VOTE, Decision, ReviewSnapshot, SubmissionStatus, Vote
from somagent.domain.messages.review_state import (
    already_voted,
    review_not_ready,
    self_review_forbidden,
    submission_decided,
)
from somagent.domain.model import Model
from somagent.services.capsules.reading import Reviewed, reviewed

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
        await _ask(client, before.submission.workflow_id, cast)
    except _WorkflowGoneError:
        return await _truth(database, caller, submission_id, cast)
    async with database.tenant(caller.tenant_id) as session:
        return await reviewed(session, caller.tenant_id, submission_id)


class _WorkflowGoneError(Exception):
    """The review has ended, or was not started yet."""


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


async def _ask(client: Client, workflow_id: str, cast: Vote) -> None:
    try:
        await execute_update(client, workflow_id, CAST_VOTE, cast, update_id=cast.vote_id, result_type=ReviewSnapshot)
    except WorkflowUpdateFailedError as error:
        raise _refusal(error) from error
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise _pending() from error
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise _WorkflowGoneError from error
        if is_undecided(error):
            raise _pending() from error
        raise
    except (OSError, RuntimeError) as error:  # a lazy client that has never reached Temporal
        raise _pending() from error


async def _truth(database: Database, caller: Caller, submission_id: UUID, cast: Vote) -> Reviewed:
    async with database.tenant(caller.tenant_id) as session:
        after = await reviewed(session, caller.tenant_id, submission_id)
        counted = await session.get(ReviewVote, UUID(cast.vote_id)) is not None
    if counted:
        return after
    if after.submission.status != SubmissionStatus.PENDING:
        raise submission_decided(after.submission.status)
    raise review_not_ready()


def _refusal(error: WorkflowUpdateFailedError) -> SomaError:
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type in set(Code):
        code = Code(cause.type)
        return SomaError(code, cause.message, retry_after=1 if code is Code.REVIEW_NOT_READY else None)
    return _pending()


def _pending() -> SomaError:
    return SomaError(
        Code.DECISION_PENDING,
        "The vote was not confirmed in time, and may count yet. Send the same request again: its answer is the truth.",
        retry_after=2,
    )

"""An approver's vote: an update of the waiting workflow, so that the answer holds the new status."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field
from temporalio.client import Client

from somagent.adapters.postgres.database import Database
from somagent.domain.caller import Caller
from somagent.domain.messages.constitution import CAST_VOTE, Ballot, BallotDecision, ProposalSnapshot, ProposalStatus
from somagent.domain.messages.constitution_state import (
    own_proposal,
    proposal_decided,
    proposal_not_ready,
    voted_already,
)
from somagent.domain.model import Model
from somagent.services.constitution.reading import Proposed, proposed
from somagent.services.updates import WorkflowGoneError, ask, update_id

Reason = Annotated[str, Field(max_length=4000)]


class NewBallot(Model):
    """A vote."""

    decision: BallotDecision
    reason: Reason | None = None


async def vote(
    database: Database, client: Client, caller: Caller, proposal_id: UUID, new: NewBallot, idempotency_key: str | None
) -> Proposed:
    """Cast the caller's vote, and give the proposal as it stands after it. The same vote again counts once.

    Raises:
        SomaError: ``not_found``, ``self_approval_forbidden``, ``proposal_decided``, ``already_voted``,
            ``proposal_not_ready``, ``blocking_findings``; ``decision_pending`` when there is no answer in time: the
            same request again gives the truth.
    """
    before = await _read(database, caller, proposal_id)
    if _counted(before, caller, new):
        return before
    _refuse_early(before, caller)
    ballot = Ballot(voter=caller.user_id, decision=new.decision, reason=new.reason, ready=bool(before.findings))
    identity = update_id(str(proposal_id), caller.user_id, idempotency_key or new.decision.value)
    try:
        await ask(client, before.proposal.workflow_id, CAST_VOTE, ballot, identity, ProposalSnapshot)
    except WorkflowGoneError:
        return await _truth(database, caller, proposal_id, new)
    return await _read(database, caller, proposal_id)


async def _read(database: Database, caller: Caller, proposal_id: UUID) -> Proposed:
    async with database.tenant(caller.tenant_id) as session:
        return await proposed(session, caller.tenant_id, proposal_id)


def _counted(found: Proposed, caller: Caller, new: NewBallot) -> bool:
    return any(vote.voter == caller.user_id and vote.decision == new.decision for vote in found.votes)


def _refuse_early(before: Proposed, caller: Caller) -> None:
    """What the row alone can refuse, with Temporal up or down."""
    if before.proposal.proposer == caller.user_id:
        raise own_proposal()
    if before.proposal.status != ProposalStatus.PENDING:
        raise proposal_decided(before.proposal.status)
    if any(vote.voter == caller.user_id for vote in before.votes):
        raise voted_already()
    if not before.findings:
        raise proposal_not_ready()


async def _truth(database: Database, caller: Caller, proposal_id: UUID, new: NewBallot) -> Proposed:
    after = await _read(database, caller, proposal_id)
    if _counted(after, caller, new):
        return after
    if after.proposal.status != ProposalStatus.PENDING:
        raise proposal_decided(after.proposal.status)
    raise proposal_not_ready()

"""Proposals of constitutions: handed in, rehearsed, voted on, withdrawn."""

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

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import ConstitutionProposal
from somagent.api.body import AnyNumberRoute
from somagent.api.constitution_views import (
    ProposalSummary,
    ProposalView,
    RehearsalView,
    proposal_summary,
    proposal_view,
    rehearsal_view,
)
from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    Page,
    PageDep,
    State,
    StateDep,
    created,
    creating,
    fetch_page,
    requires,
    soma_router,
    state_of,
)
from somagent.api.following import telling
from somagent.domain.messages.constitution import BallotDecision, ProposalStatus
from somagent.domain.model import Model
from somagent.domain.policy.constitution import parse_constitution
from somagent.services.constitution import proposals, rehearsing, voting
from somagent.services.constitution.reading import Proposed, proposal_of, proposed
from somagent.services.starter import Recorded

router = soma_router("constitution", AnyNumberRoute)

Reader = Annotated[Caller, Depends(requires("policy:read"))]
Proposer = Annotated[Caller, Depends(requires("constitution:propose"))]
Approver = Annotated[Caller, Depends(requires("constitution:approve"))]


class WhyBallot(Model):
    """A vote's reason."""

    reason: voting.Reason | None = None


class RehearsalRequest(Model):
    """How many of the newest decisions are judged again."""

    limit: Annotated[int, Field(ge=1, le=rehearsing.LARGEST_LIMIT)] = rehearsing.DEFAULT_LIMIT


@router.post("/v1/constitution/proposals", status_code=202, response_model=ProposalView)
async def propose(
    request: Request, body: proposals.NewProposal, state: StateDep, caller: Proposer, key: IdempotencyKey = None
) -> Response:
    """Propose a signed constitution. It is examined and rehearsed at once, then voted on for fourteen days at most."""
    state.gate.training.require_free(caller)

    async def make(session: AsyncSession) -> Answer:
        row, recorded = await proposals.propose(session, caller, body)
        return _taken(state, row, recorded)

    return await creating(request, caller, key, body, make)


@router.post("/v1/constitution/rollback", status_code=202, response_model=ProposalView)
async def roll_back(
    request: Request, body: proposals.NewRollback, state: StateDep, caller: Proposer, key: IdempotencyKey = None
) -> Response:
    """Propose the content of an earlier version again, under a new number: versions only rise.

    The new content is signed like any other. Without `signature` the 422 shows the canonical content to sign.
    """
    state.gate.training.require_free(caller)

    async def make(session: AsyncSession) -> Answer:
        row, recorded = await proposals.roll_back(session, caller, body)
        return _taken(state, row, recorded)

    return await creating(request, caller, key, body, make)


@router.get("/v1/constitution/proposals")
async def list_proposals(
    state: StateDep,
    page: PageDep,
    caller: Reader,
    status: Annotated[ProposalStatus | None, Query(description="Only those of this status")] = None,
) -> Page[ProposalSummary]:
    """The tenant's proposals, newest first."""
    query = select(ConstitutionProposal).where(ConstitutionProposal.tenant_id == caller.tenant_id)
    if status is not None:
        query = query.where(ConstitutionProposal.status == status.value)
    async with state.app_db.tenant(caller.tenant_id) as session:
        return await fetch_page(
            session,
            query,
            page,
            ConstitutionProposal.created_at,
            ConstitutionProposal.id,
            lambda row: proposal_summary(row[0]),
        )


@router.get("/v1/constitution/proposals/{proposal_id}")
async def read(proposal_id: UUID, state: StateDep, caller: Reader) -> ProposalView:
    """One proposal: content, findings, votes, deadline."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        return proposal_view(await proposed(session, caller.tenant_id, proposal_id))


@router.delete("/v1/constitution/proposals/{proposal_id}", status_code=204)
async def withdraw(proposal_id: UUID, state: StateDep, caller: Proposer) -> Response:
    """Withdraw a pending proposal (its proposer only). It stays readable, with status withdrawn."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        _, recorded = await proposals.withdraw(session, caller, proposal_id)
    return Response(status_code=204, background=BackgroundTask(telling(state, recorded)))


@router.post("/v1/constitution/proposals/{proposal_id}/rehearse")
async def rehearse(
    proposal_id: UUID, state: StateDep, caller: Reader, body: RehearsalRequest | None = None
) -> RehearsalView:
    """Judge recorded decisions again under the proposed weights and thresholds, and list those that flip."""
    limit = (body or RehearsalRequest()).limit
    async with state.app_db.tenant(caller.tenant_id) as session:
        row = await proposal_of(session, caller.tenant_id, proposal_id)
        content = parse_constitution(row.content)
        rehearsal = await rehearsing.rehearsed(await raw_connection(session), caller.tenant_id, content, limit)
        return rehearsal_view(row, rehearsal)


@router.post("/v1/constitution/proposals/{proposal_id}/vote", response_model=ProposalView)
async def vote(
    request: Request, proposal_id: UUID, body: voting.NewBallot, caller: Approver, key: IdempotencyKey = None
) -> Response:
    """Vote. Distinct approvals up to the quorum bring it into force, one rejection rejects; the answer tells which.

    With 503 `decision_pending` send the same request again: its answer is the truth.
    """
    return await _vote(request, proposal_id, body, caller, key)


@router.post("/v1/constitution/proposals/{proposal_id}/approve", response_model=ProposalView)
async def approve(
    request: Request, proposal_id: UUID, caller: Approver, body: WhyBallot | None = None, key: IdempotencyKey = None
) -> Response:
    """The short form of a vote for it."""
    ballot = voting.NewBallot(decision=BallotDecision.APPROVE, reason=body.reason if body else None)
    return await _vote(request, proposal_id, ballot, caller, key)


@router.post("/v1/constitution/proposals/{proposal_id}/reject", response_model=ProposalView)
async def reject(
    request: Request, proposal_id: UUID, caller: Approver, body: WhyBallot | None = None, key: IdempotencyKey = None
) -> Response:
    """The short form of a vote against it."""
    ballot = voting.NewBallot(decision=BallotDecision.REJECT, reason=body.reason if body else None)
    return await _vote(request, proposal_id, ballot, caller, key)


async def _vote(
    request: Request, proposal_id: UUID, ballot: voting.NewBallot, caller: Caller, key: str | None
) -> Response:
    state: State = state_of(request)

    async def make(_: AsyncSession) -> Answer:
        found = await voting.vote(state.app_db, state.temporal, caller, proposal_id, ballot, key)
        await state.gate.watch.refresh()
        return created(200, proposal_view(found))

    return await creating(request, caller, key, ballot, make)


def _taken(state: State, row: ConstitutionProposal, recorded: Recorded) -> Answer:
    location = f"/v1/constitution/proposals/{row.id}"
    return created(202, proposal_view(Proposed(row)), location=location, after_commit=(telling(state, recorded),))

"""What a proposal's workflow does in Postgres: one transaction each, and the same again when it is repeated."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import ConstitutionProposal, ConstitutionVote
from somagent.domain.errors import SomaError
from somagent.domain.messages.constitution import (
    Ballot,
    BallotDecision,
    BallotOrder,
    ProposalFinding,
    ProposalRef,
    ProposalReminder,
    ProposalSnapshot,
    ProposalStatus,
)
from somagent.domain.messages.constitution_state import ProposalState
from somagent.domain.policy.constitution import Constitution, parse_constitution
from somagent.domain.policy.examination import BLOCKING, INFO, WARNING, examine
from somagent.domain.policy.rehearsal import Rehearsal
from somagent.services.audit.intake import Happening, take_in
from somagent.services.capsules.records import notify
from somagent.services.constitution.activation import activate
from somagent.services.constitution.bundles import verify
from somagent.services.constitution.reading import in_force, proposal_of, votes_on
from somagent.services.constitution.rehearsing import rehearsed


async def store_findings(session: AsyncSession, ref: ProposalRef) -> ProposalSnapshot:
    """Examine a pending proposal, once."""
    row = await proposal_of(session, ref.tenant_id, UUID(ref.proposal_id), lock=True)
    if row.status == ProposalStatus.PENDING and not row.findings:
        row.findings = [finding.model_dump() for finding in await _findings(session, row)]
        await session.flush()
        await notify(
            session,
            row.tenant_id,
            f"{row.workflow_id}:ready",
            f"Version {row.version} of the constitution, proposed by {row.proposer}, waits for {row.quorum} approvals.",
        )
    return await snapshot(session, row)


async def record_ballot(session: AsyncSession, order: BallotOrder) -> ProposalSnapshot:
    """Store a vote and what follows from it. The vote that completes the quorum brings the constitution into force.

    Raises:
        SomaError: as :meth:`ProposalState.check`, when the row has moved on.
    """
    row = await proposal_of(session, order.proposal.tenant_id, UUID(order.proposal.proposal_id), lock=True)
    ballot = order.ballot
    before = await votes_on(session, row.id)
    if any(vote.voter == ballot.voter and vote.decision == ballot.decision for vote in before):
        return await snapshot(session, row)
    _state(row, await snapshot(session, row)).check(ballot)
    session.add(
        ConstitutionVote(
            proposal_id=row.id,
            voter=ballot.voter,
            tenant_id=row.tenant_id,
            decision=ballot.decision.value,
            reason=ballot.reason,
        )
    )
    await session.flush()
    await _audit(session, row, ballot.voter, f"constitution.vote.{ballot.decision.value}")
    await _follow(session, row, ballot)
    return await snapshot(session, row)


async def remind(session: AsyncSession, reminder: ProposalReminder) -> ProposalSnapshot:
    """Remind the approvers of a proposal that still waits, unless it can no longer come into force."""
    row = await proposal_of(session, reminder.proposal.tenant_id, UUID(reminder.proposal.proposal_id), lock=True)
    if row.status == ProposalStatus.PENDING and (await in_force(session, row.tenant_id)).version >= row.version:
        await _close(session, row, ProposalStatus.SUPERSEDED, "somagent")
    if row.status == ProposalStatus.PENDING:
        await notify(
            session,
            row.tenant_id,
            f"{row.workflow_id}:reminder:{reminder.number}",
            f"Version {row.version} of the constitution, proposed by {row.proposer}, still waits for approval; it "
            f"expires on {row.deadline.astimezone(UTC):%Y-%m-%d %H:%M} UTC.",
            severity="warning",
        )
    return await snapshot(session, row)


async def expire(session: AsyncSession, ref: ProposalRef) -> ProposalSnapshot:
    """Let a proposal expire that nobody decided in time. The workflow's timer says that it is time."""
    row = await proposal_of(session, ref.tenant_id, UUID(ref.proposal_id), lock=True)
    if row.status == ProposalStatus.PENDING:
        await _close(session, row, ProposalStatus.EXPIRED, "somagent")
    return await snapshot(session, row)


async def snapshot(session: AsyncSession, row: ConstitutionProposal) -> ProposalSnapshot:
    """The row and its votes, for the workflow."""
    votes = await votes_on(session, row.id)
    return ProposalSnapshot(
        status=ProposalStatus(row.status),
        deadline=row.deadline,
        quorum=row.quorum,
        findings_ready=bool(row.findings),
        blocking=sum(finding["severity"] == BLOCKING for finding in row.findings or []),
        approvals=tuple(vote.voter for vote in votes if vote.decision == BallotDecision.APPROVE),
        rejections=tuple(vote.voter for vote in votes if vote.decision == BallotDecision.REJECT),
    )


async def _follow(session: AsyncSession, row: ConstitutionProposal, ballot: Ballot) -> None:
    counted = await snapshot(session, row)
    if counted.rejections:
        await _close(session, row, ProposalStatus.REJECTED, ballot.voter)
    elif len(counted.approvals) >= row.quorum:
        await activate(session, row, counted.approvals, ballot.voter)
        await _tell_proposer(session, row)


async def _close(session: AsyncSession, row: ConstitutionProposal, status: ProposalStatus, actor: str) -> None:
    row.status = status.value
    row.decided_at = datetime.now(UTC)
    await session.flush()
    await _audit(session, row, actor, f"constitution.{status.value}")
    await _tell_proposer(session, row)


async def _tell_proposer(session: AsyncSession, row: ConstitutionProposal) -> None:
    await notify(
        session,
        row.tenant_id,
        f"{row.workflow_id}:decided",
        f"Version {row.version} of the constitution: {row.status}.",
        user_id=row.proposer,
    )


async def _audit(session: AsyncSession, row: ConstitutionProposal, actor: str, action: str) -> None:
    happening = Happening(
        tenant_id=row.tenant_id,
        actor=actor,
        action=action,
        object=f"constitution_proposal:{row.id}",
        detail={"version": row.version, "hash": row.hash},
    )
    await take_in(await raw_connection(session), happening)


async def _findings(session: AsyncSession, row: ConstitutionProposal) -> list[ProposalFinding]:
    """Everything again that the request was checked for: the row may have lain here for long, or been touched."""
    proposed, found = await _verified(session, row)
    if proposed is None:
        return found
    newest = await in_force(session, row.tenant_id)
    if newest.version >= row.version:
        found.append(_finding("version", BLOCKING, "not_rising", f"Version {newest.version} is in force already."))
    found.extend(examine(proposed, _understood(newest.content)))
    found.append(_summary(await rehearsed(await raw_connection(session), row.tenant_id, proposed)))
    return found


async def _verified(
    session: AsyncSession, row: ConstitutionProposal
) -> tuple[Constitution | None, list[ProposalFinding]]:
    try:
        proposed = parse_constitution(row.content)
    except SomaError as error:
        return None, [_finding("schema", BLOCKING, fault.code, fault.detail, fault.path) for fault in error.errors]
    if proposed.content_hash != row.hash or proposed.version != row.version:
        return None, [_finding("schema", BLOCKING, "tampered", "The content is not what was proposed.")]
    try:
        await verify(session, row.tenant_id, proposed, row.signature, row.signer_key_id)
    except SomaError as error:
        return proposed, [_finding("signature", BLOCKING, error.code.value, error.detail)]
    return proposed, [_finding("signature", INFO, "verified", f"Signed with the key {row.signer_key_id}.")]


def _understood(content: object) -> Constitution | None:
    try:
        return parse_constitution(orjson.loads(orjson.dumps(content)))
    except SomaError:
        return None


def _summary(rehearsal: Rehearsal) -> ProposalFinding:
    refused, flips = rehearsal.newly_refused, len(rehearsal.flips)
    detail = (
        f"Of {rehearsal.decisions} recorded decisions {refused} that were allowed would be refused, and "
        f"{flips - refused} that were refused would be allowed; {rehearsal.reproduced} came out as recorded under the "
        "constitution they were made under."
    )
    return _finding("rehearsal", WARNING if flips else INFO, "rehearsed", detail)


def _finding(check: str, severity: str, code: str, detail: str, path: str = "") -> ProposalFinding:
    return ProposalFinding(check=check, severity=severity, code=code, detail=detail, path=path)


def _state(row: ConstitutionProposal, snapshot: ProposalSnapshot) -> ProposalState:
    state = ProposalState(
        proposal_id=str(row.id),
        tenant_id=row.tenant_id,
        version=row.version,
        proposer=row.proposer,
        deadline=row.deadline,
    )
    state.absorb(snapshot)
    return state

"""Bringing an approved constitution into force: one transaction, and never an older version after a newer one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import ConstitutionProposal, ConstitutionRow
from somagent.domain.errors import SomaError
from somagent.domain.messages.constitution import ProposalFinding, ProposalStatus
from somagent.domain.model import JsonObject
from somagent.domain.policy.constitution import parse_constitution
from somagent.domain.policy.examination import BLOCKING
from somagent.services.audit.intake import Happening, take_in
from somagent.services.constitution.bundles import verify
from somagent.services.constitution.proposals import closing_order
from somagent.services.constitution.reading import in_force
from somagent.services.starter import record

_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtextextended('constitution:' || :tenant, 0))")


async def activate(session: AsyncSession, row: ConstitutionProposal, approvals: Sequence[str], actor: str) -> None:
    """Put the proposal's constitution in force, unless a higher one is, or its signature no longer holds.

    The row's status says what came of it: ``activated``, ``superseded`` or ``failed``.
    """
    await session.execute(_ONE_AT_A_TIME, {"tenant": row.tenant_id})
    newest = await in_force(session, row.tenant_id)
    if newest.version >= row.version:
        await _decide(session, row, ProposalStatus.SUPERSEDED, actor, {"in_force": newest.version})
        return
    try:
        content = await _verified(session, row)
    except SomaError as error:
        finding = ProposalFinding(check="activation", severity=BLOCKING, code=error.code.value, detail=error.detail)
        row.findings = [*row.findings, finding.model_dump()]
        await _decide(session, row, ProposalStatus.FAILED, actor, {"code": error.code.value})
        return
    session.add(
        ConstitutionRow(
            tenant_id=row.tenant_id,
            version=row.version,
            content=content,
            hash=row.hash,
            signature=row.signature,
            signer_key_id=row.signer_key_id,
            proposal_id=row.id,
            activated_at=datetime.now(UTC),
        )
    )
    detail: JsonObject = {
        "version": row.version,
        "hash": row.hash,
        "previous_version": newest.version,
        "previous_hash": newest.hash,
        "proposal_id": str(row.id),
        "proposer": row.proposer,
        "approved_by": list(approvals),
        "rollback_of": row.rollback_of,
    }
    await _decide(session, row, ProposalStatus.ACTIVATED, actor, detail)
    await _supersede_others(session, row)


async def _verified(session: AsyncSession, row: ConstitutionProposal) -> JsonObject:
    """The content, if it is what was proposed and signed, with a key that still counts."""
    constitution = parse_constitution(row.content)
    await verify(session, row.tenant_id, constitution, row.signature, row.signer_key_id)
    return constitution.model_dump(mode="json")


async def _supersede_others(session: AsyncSession, activated: ConstitutionProposal) -> None:
    """Close the proposals that can no longer come into force, and tell their workflows."""
    query = select(ConstitutionProposal).where(
        ConstitutionProposal.tenant_id == activated.tenant_id,
        ConstitutionProposal.status == ProposalStatus.PENDING.value,
        ConstitutionProposal.version <= activated.version,
        ConstitutionProposal.id != activated.id,
    )
    connection = await raw_connection(session)
    for other in (await session.scalars(query.with_for_update(skip_locked=True))).all():
        await _decide(session, other, ProposalStatus.SUPERSEDED, "somagent", {"in_force": activated.version})
        await record(connection, closing_order(other), delay=timedelta(0))


async def _decide(
    session: AsyncSession, row: ConstitutionProposal, status: ProposalStatus, actor: str, detail: JsonObject
) -> None:
    row.status = status.value
    row.decided_at = datetime.now(UTC)
    await session.flush()
    in_force_now = status is ProposalStatus.ACTIVATED
    happening = Happening(
        tenant_id=row.tenant_id,
        actor=actor,
        action="constitution.updated" if in_force_now else f"constitution.{status.value}",
        object=f"constitution:{row.version}" if in_force_now else f"constitution_proposal:{row.id}",
        topic="constitution.updated" if in_force_now else "agent.audit",
        outcome="failed" if status is ProposalStatus.FAILED else "done",
        detail=detail,
    )
    await take_in(await raw_connection(session), happening)

"""Reading a tenant's constitutions and proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.tables import ConstitutionProposal, ConstitutionRow, ConstitutionVote
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.constitution import ProposalFinding
from somagent.services.gate.constitutions import EVERYBODY


@dataclass(frozen=True, slots=True)
class Proposed:
    """A proposal with the votes on it."""

    proposal: ConstitutionProposal
    votes: tuple[ConstitutionVote, ...] = ()

    @property
    def findings(self) -> tuple[ProposalFinding, ...]:
        """What the examination found; empty until it is done."""
        return tuple(ProposalFinding.model_validate(finding) for finding in self.proposal.findings or [])


async def in_force(session: AsyncSession, tenant_id: str) -> ConstitutionRow:
    """The row in force for a tenant: its own newest, else the deployment's.

    Raises:
        SomaError: ``constitution_unverifiable``, where there is none at all.
    """
    query = (
        select(ConstitutionRow)
        .where(ConstitutionRow.tenant_id.in_((tenant_id, EVERYBODY)))
        .order_by((ConstitutionRow.tenant_id == tenant_id).desc(), ConstitutionRow.version.desc())
        .limit(1)
    )
    row = await session.scalar(query)
    if row is None:
        raise SomaError(Code.CONSTITUTION_UNVERIFIABLE, "There is no constitution; `somagent up` makes the first one.")
    return row


def versions_of(tenant_id: str) -> Select[Any]:
    """Every constitution that is or was in force for a tenant, the deployment's included."""
    return select(ConstitutionRow).where(ConstitutionRow.tenant_id.in_((tenant_id, EVERYBODY)))


async def version_of(session: AsyncSession, tenant_id: str, version: int) -> ConstitutionRow:
    """One version that is or was in force for a tenant: its own, else the deployment's; raises ``not_found``."""
    query = versions_of(tenant_id).where(ConstitutionRow.version == version)
    row: ConstitutionRow | None = await session.scalar(query.order_by(ConstitutionRow.tenant_id.desc()).limit(1))
    if row is None:
        raise SomaError(Code.NOT_FOUND, f"There is no version {version} of the constitution.")
    return row


async def proposal_of(
    session: AsyncSession, tenant_id: str, proposal_id: UUID, *, lock: bool = False
) -> ConstitutionProposal:
    """A tenant's proposal; raises ``not_found``."""
    query = select(ConstitutionProposal).where(
        ConstitutionProposal.id == proposal_id, ConstitutionProposal.tenant_id == tenant_id
    )
    row = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise SomaError(Code.NOT_FOUND, f"There is no proposal {proposal_id}.")
    return row


async def votes_on(session: AsyncSession, proposal_id: UUID) -> tuple[ConstitutionVote, ...]:
    """The votes in the order they were given."""
    query = select(ConstitutionVote).where(ConstitutionVote.proposal_id == proposal_id)
    votes: Sequence[ConstitutionVote] = (
        await session.scalars(query.order_by(ConstitutionVote.created_at, ConstitutionVote.voter))
    ).all()
    return tuple(votes)


async def proposed(session: AsyncSession, tenant_id: str, proposal_id: UUID) -> Proposed:
    """A proposal with its votes; raises ``not_found``."""
    row = await proposal_of(session, tenant_id, proposal_id)
    return Proposed(row, await votes_on(session, row.id))

"""Reading a tenant's submissions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.tables import ReviewVote, Submission
from somagent.domain.errors import Code, SomaError


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A submission with the votes on its current revision."""

    submission: Submission
    votes: tuple[ReviewVote, ...] = ()


async def submission_of(
    session: AsyncSession, tenant_id: str, submission_id: UUID, *, lock: bool = False
) -> Submission:
    """A tenant's own submission; those of others that it may install are not its submissions.

    Raises:
        SomaError: ``not_found``.
    """
    query = select(Submission).where(Submission.id == submission_id, Submission.tenant_id == tenant_id)
    row = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise SomaError(Code.NOT_FOUND, f"There is no submission {submission_id}.")
    return row


async def votes_on(session: AsyncSession, row: Submission) -> tuple[ReviewVote, ...]:
    """The votes on the current revision, in the order they were given."""
    query = select(ReviewVote).where(ReviewVote.submission_id == row.id, ReviewVote.revision == row.revision)
    votes: Sequence[ReviewVote] = (await session.scalars(query.order_by(ReviewVote.created_at, ReviewVote.id))).all()
    return tuple(votes)


async def reviewed(session: AsyncSession, tenant_id: str, submission_id: UUID) -> Reviewed:
    """A submission with its votes; raises ``not_found``."""
    row = await submission_of(session, tenant_id, submission_id)
    return Reviewed(row, await votes_on(session, row))

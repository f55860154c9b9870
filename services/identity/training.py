"""Training sessions: while one is open, only who opened it changes what the tenant's agents are made of."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import TrainingSession
from somagent.domain.caller import Caller
from somagent.domain.capabilities import Capability, holds
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.domain.names import TenantId
from somagent.services.audit.intake import by, take_in

_TOPIC: Final = "training.audit"


class NewTraining(Model):
    """A training session to be opened."""

    reason: Annotated[str, Field(min_length=1, max_length=1_000)] = "training"
    tenant_id: TenantId | None = Field(default=None, description="The caller's own when absent")


class TrainingEnd(Model):
    """Whose training is over."""

    tenant_id: TenantId | None = Field(default=None, description="The caller's own when absent")


async def start(session: AsyncSession, caller: Caller, new: NewTraining) -> TrainingSession:
    """Open a session.

    The caller commits, and then asks the gate to look (``gate.watch.refresh()``).

    Raises:
        SomaError: ``training_locked`` while one is open.
    """
    row = TrainingSession(
        id=uuid.uuid4(),
        tenant_id=caller.tenant_id,
        reason=new.reason,
        started_by=caller.user_id,
        started_at=datetime.now(UTC),
    )
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise SomaError(
            Code.TRAINING_LOCKED, "Somebody trains this tenant's agents already. Wait until that is stopped."
        ) from error
    detail = {"reason": row.reason}
    happening = by(caller, "training.started", f"tenant:{caller.tenant_id}", topic=_TOPIC, detail=detail)
    await take_in(await raw_connection(session), happening)
    return row


async def stop(session: AsyncSession, caller: Caller) -> TrainingSession:
    """Close the open session: who opened it may, and an administrator.

    The caller commits, and then asks the gate to look.

    Raises:
        SomaError: ``training_not_active``; ``training_locked`` for somebody else's without identity:admin.
    """
    row = await session.scalar(
        select(TrainingSession)
        .where(TrainingSession.tenant_id == caller.tenant_id, TrainingSession.stopped_at.is_(None))
        .with_for_update()
    )
    if row is None:
        raise SomaError(Code.TRAINING_NOT_ACTIVE, "Nobody trains this tenant's agents at this moment.")
    if (row.started_by != caller.user_id or caller.visiting) and not holds(caller, Capability.IDENTITY_ADMIN):
        raise SomaError(
            Code.TRAINING_LOCKED, f"{row.started_by} has opened this training: only they, or identity:admin, stop it."
        )
    row.stopped_at = datetime.now(UTC)
    row.stopped_by = caller.user_id
    happening = by(caller, "training.stopped", f"tenant:{caller.tenant_id}", topic=_TOPIC)
    await take_in(await raw_connection(session), happening)
    return row


async def latest(session: AsyncSession, tenant_id: str) -> TrainingSession | None:
    """The tenant's open session, else the last one."""
    row: TrainingSession | None = await session.scalar(
        select(TrainingSession)
        .where(TrainingSession.tenant_id == tenant_id)
        .order_by(TrainingSession.stopped_at.is_not(None), TrainingSession.started_at.desc())
        .limit(1)
    )
    return row

"""Recalling a version: nothing new may start with it anywhere, and what runs is stopped or drained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import Field
from sqlalchemy import ColumnElement, and_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import Installation, Job, Recall, Submission
from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.installation import InstallationStatus
from somagent.domain.messages.jobs import UNFINISHED
from somagent.domain.messages.orders import SignalOrder
from somagent.domain.messages.review import SubmissionStatus
from somagent.domain.model import Model
from somagent.services.capsules.holdings import lock_version
from somagent.services.capsules.records import account_for, notify
from somagent.services.capsules.releases import FILESYSTEM, recalled_error
from somagent.services.starter import Recorded, record


class RecallMode(StrEnum):
    """What becomes of jobs that run: ``stop`` cancels them, ``drain`` lets them end."""

    STOP = "stop"
    DRAIN = "drain"


class NewRecall(Model):
    """Why a version is recalled, and what becomes of its jobs."""

    reason: Annotated[str, Field(min_length=1, max_length=4000)] = "No reason was given."
    mode: RecallMode = RecallMode.STOP


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a recall did. Counts are over all tenants."""

    recall: Recall
    mode: RecallMode
    installations: int
    jobs: int
    orders: tuple[Recorded, ...]


async def recall(
    system: AsyncSession, folder: CapsulesFolder, caller: Caller, capsule_id: str, version: str, new: NewRecall
) -> Recalled:
    """Recall a version: of the marketplace by the tenant that published it, for all; of the folder for oneself.

    Args:
        system: a unit of work across tenants; everything happens in it or nothing does.

    Raises:
        SomaError: ``capsule_not_found``, ``capsule_recalled``.
    """
    await lock_version(system, capsule_id, version)
    of_version = await _recallable(system, folder, caller, capsule_id, version)
    row = Recall(
        id=uuid4(),
        tenant_id=caller.tenant_id,
        capsule_id=capsule_id,
        version=version,
        reason=new.reason,
        recalled_by=caller.user_id,
        created_at=datetime.now(UTC),
    )
    system.add(row)
    await system.flush()
    quarantined = await _quarantine(system, of_version)
    jobs = await _unfinished(system, of_version)
    orders = await _stop(system, jobs) if new.mode is RecallMode.STOP else ()
    await _tell(system, row, new.mode, [*(item.tenant_id for item in quarantined), *(job.tenant_id for job in jobs)])
    return Recalled(row, new.mode, len(quarantined), len(jobs), orders)


async def _recallable(
    system: AsyncSession, folder: CapsulesFolder, caller: Caller, capsule_id: str, version: str
) -> ColumnElement[bool]:
    """Mark the version as recalled, and give what its installations have in common."""
    submission = await system.scalar(
        select(Submission)
        .where(
            Submission.tenant_id == caller.tenant_id,
            Submission.capsule_id == capsule_id,
            Submission.version == version,
            Submission.status.in_((SubmissionStatus.APPROVED.value, SubmissionStatus.RECALLED.value)),
        )
        .with_for_update()
    )
    if submission is not None:
        if submission.status == SubmissionStatus.RECALLED:
            raise recalled_error(capsule_id, version)
        submission.status = SubmissionStatus.RECALLED.value
        submission.updated_at = datetime.now(UTC)
        return Installation.submission_id == submission.id
    if folder.find(capsule_id, version) is None:
        raise SomaError(
            Code.CAPSULE_NOT_FOUND, f"This tenant has no approved {capsule_id} {version} that it could recall."
        )
    earlier = select(Recall.id).where(
        Recall.tenant_id == caller.tenant_id, Recall.capsule_id == capsule_id, Recall.version == version
    )
    if await system.scalar(earlier) is not None:
        raise recalled_error(capsule_id, version)
    return and_(
        Installation.tenant_id == caller.tenant_id,
        Installation.source == FILESYSTEM,
        Installation.capsule_id == capsule_id,
        Installation.version == version,
    )


async def _quarantine(system: AsyncSession, of_version: ColumnElement[bool]) -> Sequence[Installation]:
    changed = (
        update(Installation)
        .where(of_version, Installation.status == InstallationStatus.INSTALLED.value)
        .values(status=InstallationStatus.QUARANTINED.value)
        .returning(Installation)
    )
    return (await system.scalars(changed)).all()


async def _unfinished(system: AsyncSession, of_version: ColumnElement[bool]) -> Sequence[Job]:
    installed = select(Installation.id).where(of_version)
    unfinished = [status.value for status in UNFINISHED]
    query = select(Job).where(Job.installation_id.in_(installed), Job.status.in_(unfinished))
    return (await system.scalars(query)).all()


async def _stop(system: AsyncSession, jobs: Sequence[Job]) -> tuple[Recorded, ...]:
    """Ask every job to stop: the flag that segments read, and the order that Temporal is told."""
    ids: list[UUID] = [job.id for job in jobs]
    await system.execute(update(Job).where(Job.id.in_(ids)).values(cancel_requested=True))
    connection = await raw_connection(system)
    orders = []
    for job in jobs:
        order = SignalOrder(kind="workflow.cancel", tenant_id=job.tenant_id, workflow_id=job.workflow_id)
        orders.append(await record(connection, order, delay=timedelta(seconds=5)))
    return tuple(orders)


async def _tell(system: AsyncSession, row: Recall, mode: RecallMode, affected: Sequence[str]) -> None:
    fate = "its jobs are stopped" if mode is RecallMode.STOP else "its running jobs may end"
    for tenant_id in sorted({row.tenant_id, *affected}):
        await notify(
            system,
            tenant_id,
            f"recall-{row.id}",
            f"{row.capsule_id} {row.version} was recalled and is quarantined; {fate}. Reason: {row.reason}",
            severity="critical",
        )
        await account_for(
            system,
            tenant_id,
            row.recalled_by if tenant_id == row.tenant_id else "somagent",  # people are of their own tenant only
            "capsule.recalled",
            f"capsule:{row.capsule_id}@{row.version}",
            {"capsule_id": row.capsule_id, "version": row.version, "reason": row.reason, "mode": mode.value},
        )

"""Versions of capsules that a tenant may see: those of the folder, and approved ones of the marketplace.

A version asked for by name is taken whoever published it. Where nobody names one, only a publisher the tenant already
relies on counts: the shipped folder, the tenant itself, or else whoever first had the id approved for everybody.
Otherwise a stranger could reach every installation of a known id by approving a higher number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.capsules_folder import CapsulesFolder, FolderCapsule
from somagent.adapters.postgres.tables import Recall, Submission
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.review import SubmissionStatus
from somagent.domain.model import JsonObject
from somagent.domain.versions import newest
from somagent.services.capsules.attestation import restored
from somagent.services.capsules.submissions import GLOBAL

FILESYSTEM = "filesystem"
MARKETPLACE = "marketplace"


@dataclass(frozen=True, slots=True)
class Release:
    """One version of a capsule.

    Attributes:
        status: ``approved`` or ``recalled``.
        publisher: the tenant that submitted it; None for the shipped folder.
        approved_at: None for the shipped folder.
    """

    capsule_id: str
    version: str
    source: str
    status: str
    type: str
    summary: str
    document: JsonObject
    attestation_hash: str
    publisher: str | None = None
    submission_id: UUID | None = None
    approved_at: datetime | None = None


async def releases_of(
    session: AsyncSession, tenant_id: str, folder: CapsulesFolder, capsule_id: str
) -> tuple[Release, ...]:
    """Every version of ``capsule_id`` that the tenant may see, recalled ones included; the longest approved first."""
    query = visible(tenant_id).where(Submission.capsule_id == capsule_id)
    rows: Sequence[Submission] = (await session.scalars(query)).all()
    published = [from_submission(row) for row in sorted(rows, key=lambda row: (row.decided_at, str(row.id)))]
    recalled = await recalled_of_folder(session)
    shipped = [from_folder(item, recalled) for item in folder.all() if item.definition.id == capsule_id]
    return (*shipped, *published)


async def release_to_install(
    session: AsyncSession, tenant_id: str, folder: CapsulesFolder, capsule_id: str, version: str | None
) -> Release:
    """The version to install: the one named, or the newest approved of a publisher that counts.

    Raises:
        SomaError: ``capsule_not_approved`` when there is none, ``capsule_recalled`` when the one named was recalled.
    """
    known = await releases_of(session, tenant_id, folder, capsule_id)
    if version is not None:
        named = [release for release in known if release.version == version]
        sound = [release for release in named if release.status == SubmissionStatus.APPROVED]
        if sound:
            return sound[0]
        if named:
            raise recalled_error(capsule_id, version)
        raise _not_approved(capsule_id, version)
    sound = [release for release in trusted(known, tenant_id) if release.status == SubmissionStatus.APPROVED]
    latest = newest(release.version for release in sound)
    if latest is None:
        raise _not_approved(capsule_id, None)
    return next(release for release in sound if release.version == latest)


def visible(tenant_id: str) -> Select[Any]:
    """Approved and recalled submissions whose scope holds the tenant."""
    return select(Submission).where(
        Submission.status.in_((SubmissionStatus.APPROVED.value, SubmissionStatus.RECALLED.value)),
        Submission.tenant_scope.in_((GLOBAL, tenant_id)),
    )


def from_submission(row: Submission) -> Release:
    """A marketplace version."""
    return Release(
        capsule_id=row.capsule_id,
        version=row.version,
        source=MARKETPLACE,
        status=row.status,
        type=row.type,
        summary=row.summary,
        document=restored(row.definition),
        attestation_hash=row.attestation_hash,
        publisher=row.tenant_id,
        submission_id=row.id,
        approved_at=row.decided_at,
    )


def from_folder(item: FolderCapsule, recalled: frozenset[tuple[str, str]]) -> Release:
    """A shipped version; ``recalled`` are those that the tenant has recalled for itself."""
    definition = item.definition
    gone = (definition.id, definition.version) in recalled
    return Release(
        capsule_id=definition.id,
        version=definition.version,
        source=FILESYSTEM,
        status=(SubmissionStatus.RECALLED if gone else SubmissionStatus.APPROVED).value,
        type=definition.type,
        summary=definition.summary,
        document=item.document,
        attestation_hash=item.attestation_hash,
    )


async def recalled_of_folder(session: AsyncSession) -> frozenset[tuple[str, str]]:
    """What the session's tenant has recalled, by id and version."""
    rows = (await session.execute(select(Recall.capsule_id, Recall.version))).all()
    return frozenset((row.capsule_id, row.version) for row in rows)


def recalled_error(capsule_id: str, version: str) -> SomaError:
    """The refusal of a recalled version."""
    return SomaError(Code.CAPSULE_RECALLED, f"{capsule_id} {version} was recalled. Install another version.")


def trusted(known: Sequence[Release], tenant_id: str) -> list[Release]:
    """Those of publishers that may be followed to a newer version without asking."""
    # Folder first, then by the time of approval: the first is whoever had the id first.
    publishers = {tenant_id, *(release.publisher for release in known[:1])}
    return [release for release in known if release.publisher in publishers]


def _not_approved(capsule_id: str, version: str | None) -> SomaError:
    wanted = f"{capsule_id} {version}" if version else f"No version of {capsule_id}"
    verb = "is not" if version else "is"
    return SomaError(
        Code.CAPSULE_NOT_APPROVED, f"{wanted} {verb} approved for this tenant. GET /v1/capsules lists those that are."
    )

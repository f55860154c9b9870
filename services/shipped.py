"""A new tenant has the shipped capsules installed from its first moment."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.capsules_folder import CapsulesFolder, FolderCapsule
from somagent.adapters.postgres.tables import Installation
from somagent.domain.messages.installation import InstallationStatus
from somagent.domain.versions import by_precedence
from somagent.services.capsules.holdings import put_budget_back, take_namespace
from somagent.services.capsules.installations import new_row
from somagent.services.capsules.releases import from_folder

ENVIRONMENT = "prod"
INSTALLED_BY = "somagent"


async def install_shipped(session: AsyncSession, tenant_id: str, folder: CapsulesFolder) -> int:
    """Install the newest version of each shipped capsule that the tenant has never had in ``prod``.

    Args:
        session: bound to the tenant, whose row is there; the caller commits.

    Returns:
        How many were installed; 0 when all were there, so that repeating it changes nothing.
    """
    # Two at once for one tenant: the second waits, and finds everything done.
    await session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"shipped:{tenant_id}", 0))))
    had = set(
        await session.scalars(
            select(Installation.capsule_id).where(
                Installation.tenant_id == tenant_id, Installation.environment == ENVIRONMENT
            )
        )
    )
    missing = [capsule for capsule in _newest(folder) if capsule.definition.id not in had]
    for capsule in missing:
        row = new_row(from_folder(capsule, frozenset()), tenant_id, ENVIRONMENT, INSTALLED_BY)
        row.status = InstallationStatus.INSTALLED.value
        row.finished_at = datetime.now(UTC)
        session.add(row)
        await session.flush()
        await take_namespace(session, row)
        await put_budget_back(session, row)
    return len(missing)


def _newest(folder: CapsulesFolder) -> list[FolderCapsule]:
    versions: dict[str, dict[str, FolderCapsule]] = {}
    for capsule in folder.all():
        versions.setdefault(capsule.definition.id, {})[capsule.definition.version] = capsule
    return [found[by_precedence(found)[-1]] for _, found in sorted(versions.items())]

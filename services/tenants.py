"""Making tenants and users where they are missing."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.postgres.database import Database
from somagent.domain.names import checked_tenant_id, checked_user_id
from somagent.services.shipped import install_shipped

DAILY_TOKENS = 1_000_000
"""What a new tenant may spend in a UTC day."""

_ADD_TENANT = text(
    "INSERT INTO tenants (id, name, daily_tokens) VALUES (:tenant, :tenant, :tokens) "
    "ON CONFLICT DO NOTHING RETURNING true"
)
_ADD_USER = text("INSERT INTO users (tenant_id, id) VALUES (:tenant, :user) ON CONFLICT DO NOTHING")


async def ensure_tenant(system_db: Database, tenant_id: str, capsules_dir: Path) -> bool:
    """Make a tenant where it is missing, with its budget and the shipped capsules. Answers whether it is new.

    An existing tenant keeps what it has, and gets those shipped capsules that it has never had.

    Args:
        capsules_dir: the folder with the shipped capsules.

    Raises:
        SomaError: ``validation_failed`` for a name that cannot be; ``database_unavailable``.
    """
    checked_tenant_id(tenant_id)
    async with system_db.tenant(tenant_id) as session:
        is_new = await _add_tenant(session, tenant_id)
        await install_shipped(session, tenant_id, CapsulesFolder(capsules_dir))
        return is_new


async def ensure_user(system_db: Database, tenant_id: str, user_id: str) -> None:
    """Make a user of an existing tenant where it is missing.

    Raises:
        SomaError: ``validation_failed`` for a name that cannot be; ``database_unavailable``.
    """
    checked_user_id(user_id)
    async with system_db.system() as session:
        await session.execute(_ADD_USER, {"tenant": tenant_id, "user": user_id})


async def _add_tenant(session: AsyncSession, tenant_id: str) -> bool:
    added = await session.execute(_ADD_TENANT, {"tenant": tenant_id, "tokens": DAILY_TOKENS})
    return added.scalar() is not None

"""The first administrator of a deployment, and letting somebody in again who has lost their password."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from sqlalchemy import text

from somagent.adapters.postgres.database import Database, raw_connection
from somagent.domain.errors import Code, SomaError
from somagent.domain.names import FIRST_TENANT as TENANT
from somagent.domain.names import FIRST_USER as USER
from somagent.services.audit.intake import Happening, take_in
from somagent.services.identity import attempts
from somagent.services.identity.cutoffs import cut_off
from somagent.services.identity.passwords import generated, hashed
from somagent.services.identity.rotation import ACTOR
from somagent.services.identity.users import TOPIC
from somagent.services.tenants import ensure_tenant

CAPABILITIES: Final = ("*", "tenant:any", "kill:global")

_HOLD: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
_IS_THERE: Final = text(
    "SELECT EXISTS (SELECT 1 FROM users WHERE tenant_id = :tenant AND capabilities && ARRAY['*', 'identity:admin'])"
)
_MAKE: Final = text(
    "INSERT INTO users (tenant_id, id, display_name, capabilities, password_hash) "
    "VALUES (:tenant, :user, 'First administrator', :capabilities, :hash) "
    "ON CONFLICT (tenant_id, id) DO UPDATE SET capabilities = excluded.capabilities, "
    "password_hash = excluded.password_hash, updated_at = now()"
)
_RESET: Final = text(
    "UPDATE users SET password_hash = :hash, updated_at = now(), "
    "mfa_secret = CASE WHEN :mfa THEN NULL ELSE mfa_secret END, "
    "mfa_confirmed_at = CASE WHEN :mfa THEN NULL ELSE mfa_confirmed_at END, "
    "mfa_last_counter = CASE WHEN :mfa THEN NULL ELSE mfa_last_counter END "
    "WHERE tenant_id = :tenant AND id = :user RETURNING true"
)


async def ensure_first(system_db: Database, capsules_dir: Path, keep: Callable[[str], None]) -> bool:
    """Make the first administrator where the first tenant has none. Answers whether one was made.

    Args:
        keep: is told the password before anything is committed.

    Raises:
        SomaError: ``database_unavailable``.
    """
    async with system_db.tenant(TENANT) as session:
        if (await session.execute(_IS_THERE, {"tenant": TENANT})).scalar():
            return False
    await ensure_tenant(system_db, TENANT, capsules_dir)
    password = generated()
    async with system_db.tenant(TENANT) as session:
        await session.execute(_HOLD, {"name": f"administrators:{TENANT}"})
        if (await session.execute(_IS_THERE, {"tenant": TENANT})).scalar():
            return False
        values = {"tenant": TENANT, "user": USER, "capabilities": list(CAPABILITIES), "hash": hashed(password)}
        await session.execute(_MAKE, values)
        made = Happening(
            tenant_id=TENANT, actor="somagent", action="user.created", object=f"user:{USER}", topic=TOPIC,
            detail={"capabilities": list(CAPABILITIES), "can_log_in": True},
        )  # fmt: skip
        await take_in(await raw_connection(session), made)
        keep(password)
    return True


async def reset_password(system_db: Database, tenant_id: str, user_id: str, *, without_mfa: bool) -> str:
    """Give a user a new random password, and end their tokens and any lock. Answers the password.

    Args:
        without_mfa: take their second factor away too.

    Raises:
        SomaError: ``not_found``; ``database_unavailable``.
    """
    password = generated()
    values = {"tenant": tenant_id, "user": user_id, "hash": hashed(password), "mfa": without_mfa}
    async with system_db.tenant(tenant_id) as session:
        if not (await session.execute(_RESET, values)).scalar():
            raise SomaError(Code.NOT_FOUND, f"There is no user {user_id} in tenant {tenant_id}.")
        connection = await raw_connection(session)
        await attempts.unlock(connection, tenant_id, user_id)
        await cut_off(connection, tenant_id, user_id)
        reset = Happening(
            tenant_id=tenant_id, actor=ACTOR, action="user.password_reset", object=f"user:{user_id}", topic=TOPIC,
            detail={"mfa_removed": without_mfa},
        )  # fmt: skip
        await take_in(connection, reset)
    return password

"""API keys: ``soma_`` and 32 random bytes. Shown once; what is kept is the SHA-256, which tells nothing about them."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AwareDatetime, Field, SecretStr
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import ApiKey, User
from somagent.domain.caller import Caller
from somagent.domain.capabilities import require_owned
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import Model
from somagent.services.audit.intake import by, take_in
from somagent.services.identity.second_factor import MfaCode
from somagent.services.identity.users import TOPIC, Capabilities

PREFIX: Final = "soma_"
_SHOWN: Final = len(PREFIX) + 6

GivenKey = Annotated[SecretStr, Field(min_length=1, max_length=256)]


class NewApiKey(Model):
    """A key to be made."""

    label: Annotated[str, Field(max_length=200, description="What it is for")] = ""
    capabilities: Capabilities | None = Field(
        default=None, description="What tokens issued for it may hold at most; absent: whatever the user holds then"
    )
    expires_at: AwareDatetime | None = Field(default=None, description="Absent: it holds until it is revoked")
    mfa_code: MfaCode | None = Field(default=None, description="Needed for a key of your own once MFA is confirmed")


async def create(session: AsyncSession, caller: Caller, user: User, new: NewApiKey) -> tuple[ApiKey, str]:
    """Make a key; answers it in clear too, for this once.

    Raises:
        SomaError: ``capability_not_owned`` for what the user does not hold; ``validation_failed`` for a moment past.
    """
    now = datetime.now(UTC)
    if new.expires_at is not None and new.expires_at <= now:
        detail = "expires_at has passed already."
        raise SomaError(Code.VALIDATION_FAILED, detail, errors=[Fault("expires_at", "past", detail)])
    require_owned(user.capabilities, new.capabilities or (), "the user")
    key = PREFIX + secrets.token_urlsafe(32)
    row = ApiKey(
        id=uuid.uuid4(),
        tenant_id=user.tenant_id,
        user_id=user.id,
        label=new.label,
        prefix=key[:_SHOWN],
        key_hash=digest(key),
        capabilities=new.capabilities,
        created_by=caller.user_id,
        created_at=now,
        expires_at=new.expires_at,
    )
    session.add(row)
    told = {"api_key_id": str(row.id), "label": row.label, "capabilities": new.capabilities}
    await _record(session, caller, "api_key.created", user.id, told)
    return row, key


def keys_of(tenant_id: str, user_id: str) -> Select[Any]:
    """A user's keys, revoked ones included."""
    return select(ApiKey).where(ApiKey.tenant_id == tenant_id, ApiKey.user_id == user_id)


async def revoke(session: AsyncSession, caller: Caller, user_id: str, key_id: UUID) -> None:
    """Revoke a key: no token is issued for it any more; those issued before end by themselves. Again: nothing changes.

    Raises:
        SomaError: ``not_found``.
    """
    row = await session.scalar(keys_of(caller.tenant_id, user_id).where(ApiKey.id == key_id).with_for_update())
    if row is None:
        raise SomaError(Code.NOT_FOUND, "There is no such API key.")
    if row.revoked_at is None:
        row.revoked_at = datetime.now(UTC)
        await _record(session, caller, "api_key.revoked", user_id, {"api_key_id": str(key_id)})


def digest(key: str) -> str:
    """What is kept of a key. It has 256 random bits, so a plain hash is as good as a slow one."""
    return hashlib.sha256(key.encode()).hexdigest()


async def _record(session: AsyncSession, caller: Caller, action: str, user_id: str, detail: dict[str, Any]) -> None:
    connection = await raw_connection(session)
    await take_in(connection, by(caller, action, f"user:{user_id}", topic=TOPIC, detail=detail))

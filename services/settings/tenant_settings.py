"""What a tenant has set: its name, budget, quorums, residency, allowed adapters, and its deployment mode."""

from __future__ import annotations

from typing import Annotated, Final

import structlog
from pydantic import Field, StringConstraints
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import Tenant
from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.constitution import DEFAULT_QUORUM, LARGEST_QUORUM, QUORUM_SETTING
from somagent.domain.model import JsonObject, Model
from somagent.domain.modes import DeploymentMode
from somagent.domain.names import TenantId
from somagent.services.audit.intake import AuditTopic, by, take_in

log = structlog.get_logger(__name__)

MODE_SETTING: Final = "deployment_mode"
_KEPT_IN_SETTINGS: Final = (QUORUM_SETTING, "residency", "allowed_adapters")

Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]


class TenantSettings(Model):
    """What can be set. Absent on a PUT: left as it is."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] | None = None
    daily_tokens: Annotated[int, Field(ge=0, le=10**15)] | None = Field(
        default=None, description="What the tenant may spend in a UTC day"
    )
    review_quorum: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="Approvals that a capsule's submission needs"
    )
    constitution_quorum: Annotated[int, Field(ge=1, le=LARGEST_QUORUM)] | None = Field(
        default=None, description="Approvals that a constitution needs"
    )
    residency: Annotated[list[Word], Field(max_length=100)] | None = Field(
        default=None, description="Regions in which the tenant's prompts may be worked on; empty: any"
    )
    allowed_adapters: Annotated[list[Word], Field(max_length=100)] | None = Field(
        default=None, description='Adapters that installed capsules may use; `["*"]`: all'
    )


class NewTenant(TenantSettings):
    """A tenant to be made."""

    id: TenantId


async def tenant_of(session: AsyncSession, tenant_id: str, *, to_change: bool = False) -> Tenant:
    """The tenant's row.

    Raises:
        SomaError: ``not_found``.
    """
    query = select(Tenant).where(Tenant.id == tenant_id)
    row = await session.scalar(query.with_for_update() if to_change else query)
    if row is None:
        raise SomaError(Code.NOT_FOUND, "There is no such tenant.")
    return row


async def change(session: AsyncSession, caller: Caller, wanted: TenantSettings) -> Tenant:
    """Set what ``wanted`` names, in the tenant that the caller acts for; audited with old and new.

    Raises:
        SomaError: ``not_found``.
    """
    row = await tenant_of(session, caller.tenant_id, to_change=True)
    old, new = _apply(row, wanted)
    if new:
        await _audit(session, caller, "tenant.changed", "settings.changed", {"old": old, "new": new})
    await session.flush()
    return row


async def founded(session: AsyncSession, caller: Caller, wanted: TenantSettings) -> Tenant:
    """Set what a tenant begins with, and record who made it."""
    row = await tenant_of(session, caller.tenant_id, to_change=True)
    _, new = _apply(row, wanted)
    await _audit(session, caller, "tenant.created", "settings.changed", {"new": new})
    await session.flush()
    return row


async def set_mode(session: AsyncSession, caller: Caller, mode: DeploymentMode, reason: str | None) -> None:
    """Put the tenant into ``mode``; audited as ``mode.changed`` when it is another one than it had chosen.

    Raises:
        SomaError: ``not_found``.
    """
    row = await tenant_of(session, caller.tenant_id, to_change=True)
    old = row.settings.get(MODE_SETTING)
    if old == mode.value:
        return
    row.settings = {**row.settings, MODE_SETTING: mode.value}
    detail: JsonObject = {"old": old, "new": mode.value, "reason": reason}
    await _audit(session, caller, "mode.changed", "mode.changed", detail)
    await session.flush()
    log.warning("mode_changed", tenant=caller.tenant_id, old=old, new=mode.value, by=caller.user_id)


def constitution_quorum(row: Tenant) -> int:
    """Approvals that a constitution of the tenant needs."""
    return int(row.settings.get(QUORUM_SETTING, DEFAULT_QUORUM))


def _apply(row: Tenant, wanted: TenantSettings) -> tuple[JsonObject, JsonObject]:
    """Change the row; what differed, before and after."""
    old: JsonObject = {}
    new: JsonObject = {}
    settings = dict(row.settings)
    for name, value in wanted.model_dump(exclude={"id"}, exclude_none=True).items():
        in_settings = name in _KEPT_IN_SETTINGS
        before = settings.get(name) if in_settings else getattr(row, name)
        after = None if name == "allowed_adapters" and value == ["*"] else value
        if before == after:
            continue
        old[name], new[name] = before, after
        if in_settings:
            settings[name] = after
        else:
            setattr(row, name, after)
    row.settings = {name: value for name, value in settings.items() if value is not None}
    return old, new


async def _audit(session: AsyncSession, caller: Caller, action: str, topic: AuditTopic, detail: JsonObject) -> None:
    happening = by(caller, action, f"tenant:{caller.tenant_id}", topic=topic, detail=detail)
    await take_in(await raw_connection(session), happening)

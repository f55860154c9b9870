"""Settings of tenants: what they are called, may spend and demand, their deployment mode, and who is told what."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request
from pydantic import Field, StringConstraints
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from somagent.adapters.postgres.tables import Tenant
from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    Page,
    PageDep,
    State,
    StateDep,
    Timestamp,
    created,
    creating,
    fetch_page,
    holds,
    require,
    requires,
    soma_router,
)
from somagent.api.tenancy import of_tenant
from somagent.domain.capabilities import Capability
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.domain.modes import DeploymentMode, LogLevel, RoutingWeights, VerdictLogging
from somagent.domain.names import UserId
from somagent.domain.notification_preferences import NotificationPreferences
from somagent.services.settings import tenant_settings as settings
from somagent.services.settings.preferences import EVERYBODY, read_preferences, write_preferences
from somagent.services.tenants import ensure_tenant

router = soma_router("settings")

Reader = Annotated[Caller, Depends(requires("settings:read"))]
Writer = Annotated[Caller, Depends(requires("settings:write"))]
Recipient = Annotated[Caller, Depends(requires("notification:send"))]
WhoseQuery = Annotated[UserId | None, Query(description="Whose; everybody's of the tenant when absent")]


class TenantView(Model):
    """A tenant with its settings."""

    id: str
    name: str
    daily_tokens: int
    review_quorum: int
    constitution_quorum: int
    residency: list[str] = Field(description="Empty: any region")
    allowed_adapters: list[str] = Field(description='`["*"]`: all')
    deployment_mode: DeploymentMode = Field(description="Changed by its own route")
    created_at: Timestamp


class ModeChange(Model):
    """Another deployment mode."""

    mode: DeploymentMode
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)] | None = None


class ModeView(Model):
    """A tenant's deployment mode, and what it means."""

    mode: DeploymentMode
    chosen: bool = Field(description="Whether the tenant chose it; else it is the deployment's own")
    production: bool
    threshold: float = Field(description="What an act's score must reach, by the constitution in force")
    routing_weights: RoutingWeights
    verdict_logging: VerdictLogging = Field(description="Which verdicts are logged, each with its features")
    log_level: LogLevel = Field(description="Of a process with this mode that was given no SOMAGENT_LOG_LEVEL")


class PreferencesView(NotificationPreferences):
    """What somebody wants to be notified of."""

    user_id: str | None = Field(description="Null: everybody of the tenant")
    inherited: bool = Field(description="Nothing was set here: what holds is the tenant's, or everything")


@router.get("/v1/tenants")
async def list_tenants(state: StateDep, caller: Reader, page: PageDep) -> Page[TenantView]:
    """The caller's tenant; every tenant with `tenant:any`."""
    everyone = holds(caller, Capability.TENANT_ANY)
    unit = state.system_db.system() if everyone else state.app_db.tenant(caller.tenant_id)
    async with unit as session:
        return await fetch_page(
            session, select(Tenant), page, Tenant.created_at, Tenant.id, lambda row: _view(state, row[0])
        )


@router.post("/v1/tenants", status_code=201, response_model=TenantView)
async def create_tenant(
    request: Request, body: settings.NewTenant, state: StateDep, caller: Writer, key: IdempotencyKey = None
) -> Response:
    """Make a tenant with the shipped capsules, templates and 1,000,000 tokens a day. Needs `tenant:any` too."""
    require(caller, Capability.TENANT_ANY)

    async def make(_: AsyncSession) -> Answer:
        if not await ensure_tenant(state.system_db, body.id, state.settings.capsules_dir):
            raise SomaError(Code.TENANT_EXISTS, f"There is a tenant {body.id!r} already.")
        founder = await of_tenant(state, caller, body.id)
        async with state.app_db.tenant(body.id) as session:
            view = _view(state, await settings.founded(session, founder, body))
        return created(201, view, location=f"/v1/tenants/{body.id}")

    answer = await creating(request, caller, key, body, make)
    await state.gate.watch.refresh()
    return answer


@router.get("/v1/tenants/{tenant_id}")
async def read_tenant(tenant_id: str, state: StateDep, caller: Reader) -> TenantView:
    """One tenant; another than the caller's needs `tenant:any`."""
    caller = await of_tenant(state, caller, tenant_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        return _view(state, await settings.tenant_of(session, caller.tenant_id))


@router.put("/v1/tenants/{tenant_id}")
async def change_tenant(tenant_id: str, body: settings.TenantSettings, state: StateDep, caller: Writer) -> TenantView:
    """Change what the body names; the rest stays as it is."""
    caller = await of_tenant(state, caller, tenant_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        view = _view(state, await settings.change(session, caller, body))
    await state.gate.watch.refresh()
    return view


@router.get("/v1/tenants/{tenant_id}/deployment-mode")
async def read_mode(tenant_id: str, state: StateDep, caller: Reader) -> ModeView:
    """How strict, frugal and talkative the tenant's part of the deployment is."""
    caller = await of_tenant(state, caller, tenant_id)
    return await _mode(state, caller.tenant_id)


@router.put("/v1/tenants/{tenant_id}/deployment-mode")
async def change_mode(tenant_id: str, body: ModeChange, state: StateDep, caller: Writer) -> ModeView:
    """Switch the mode: threshold, weights and logging change with it, on every process within a second."""
    caller = await of_tenant(state, caller, tenant_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        await settings.set_mode(session, caller, body.mode, body.reason)
    await state.gate.watch.refresh()
    return await _mode(state, caller.tenant_id)


@router.get("/v1/tenants/{tenant_id}/notification-preferences")
async def read_tenant_preferences(
    tenant_id: str, state: StateDep, caller: Reader, user_id: WhoseQuery = None
) -> PreferencesView:
    """What everybody of the tenant, or one of its users, wants to be notified of."""
    caller = await of_tenant(state, caller, tenant_id)
    return await _preferences(state, caller.tenant_id, user_id)


@router.put("/v1/tenants/{tenant_id}/notification-preferences")
async def change_tenant_preferences(
    tenant_id: str, body: NotificationPreferences, state: StateDep, caller: Writer, user_id: WhoseQuery = None
) -> PreferencesView:
    """Set what everybody of the tenant, or one of its users, wants; a user's own wish goes before the tenant's."""
    caller = await of_tenant(state, caller, tenant_id)
    return await _set_preferences(state, caller, user_id or EVERYBODY, body)


@router.get("/v1/notification-preferences")
async def read_own_preferences(state: StateDep, caller: Recipient) -> PreferencesView:
    """What the caller wants to be notified of."""
    return await _preferences(state, caller.tenant_id, caller.user_id)


@router.put("/v1/notification-preferences")
async def change_own_preferences(body: NotificationPreferences, state: StateDep, caller: Recipient) -> PreferencesView:
    """Set what the caller wants to be notified of."""
    return await _set_preferences(state, caller, caller.user_id, body)


def _view(state: State, row: Tenant) -> TenantView:
    chosen = row.settings.get(settings.MODE_SETTING)
    return TenantView(
        id=row.id,
        name=row.name,
        daily_tokens=row.daily_tokens,
        review_quorum=row.review_quorum,
        constitution_quorum=settings.constitution_quorum(row),
        residency=row.settings.get("residency", []),
        allowed_adapters=row.settings.get("allowed_adapters", ["*"]),
        deployment_mode=DeploymentMode(chosen) if chosen else state.settings.deployment_mode,
        created_at=row.created_at,
    )


async def _mode(state: State, tenant_id: str) -> ModeView:
    known = state.gate.tenants.of(tenant_id)
    mode = known.mode
    constitution = state.gate.constitutions.of(tenant_id)
    return ModeView(
        mode=mode,
        chosen=settings.MODE_SETTING in known.settings,
        production=mode.is_production,
        threshold=constitution.threshold_for(production=mode.is_production),
        routing_weights=mode.routing_weights,
        verdict_logging=mode.verdict_logging,
        log_level=mode.log_level,
    )


async def _preferences(state: State, tenant_id: str, user_id: str | None) -> PreferencesView:
    whose = user_id or EVERYBODY
    async with state.app_db.connection(tenant_id) as connection:
        found = await read_preferences(connection, [(tenant_id, whose)])
    kept = found.of(tenant_id, whose)
    fields = {name: getattr(kept, name) for name in NotificationPreferences.model_fields}
    return PreferencesView(user_id=user_id, inherited=not found.own(tenant_id, whose), **fields)


async def _set_preferences(
    state: State, caller: Caller, user_id: str, body: NotificationPreferences
) -> PreferencesView:
    async with state.app_db.connection(caller.tenant_id) as connection, connection.transaction():
        await write_preferences(connection, caller, user_id, body, state.channels)
    return await _preferences(state, caller.tenant_id, user_id or None)

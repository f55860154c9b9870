"""Model profiles: which models answer which roles for a tenant."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from somagent.adapters.postgres.tables import ModelProfile
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
    requires,
    soma_router,
)
from somagent.api.tenancy import of_tenant
from somagent.domain.slm.profiles import ProfileModels
from somagent.services.settings import profiles

router = soma_router("settings")

Reader = Annotated[Caller, Depends(requires("settings:read"))]
Writer = Annotated[Caller, Depends(requires("settings:write"))]


class ProfileView(ProfileModels):
    """A profile as it is kept."""

    name: str
    is_default: bool = Field(description="Models are chosen by it")
    created_by: str
    created_at: Timestamp
    updated_at: Timestamp


@router.get("/v1/tenants/{tenant_id}/model-profiles")
async def list_profiles(tenant_id: str, state: StateDep, caller: Reader, page: PageDep) -> Page[ProfileView]:
    """The tenant's profiles, newest first."""
    caller = await of_tenant(state, caller, tenant_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        return await fetch_page(
            session,
            profiles.all_profiles(caller.tenant_id),
            page,
            ModelProfile.created_at,
            ModelProfile.name,
            lambda row: _view(row[0]),
        )


@router.post("/v1/tenants/{tenant_id}/model-profiles", status_code=201, response_model=ProfileView)
async def create_profile(
    tenant_id: str,
    request: Request,
    body: profiles.NewProfile,
    state: StateDep,
    caller: Writer,
    key: IdempotencyKey = None,
) -> Response:
    """Make a profile. It does not become the default."""
    caller = await _changing(state, caller, tenant_id)

    async def make(session: AsyncSession) -> Answer:
        row = await profiles.create(session, caller, body)
        return created(201, _view(row), location=f"/v1/tenants/{caller.tenant_id}/model-profiles/{row.name}")

    return await creating(request, caller, key, body, make)


@router.get("/v1/tenants/{tenant_id}/model-profiles/{profile_name}")
async def read_profile(tenant_id: str, profile_name: str, state: StateDep, caller: Reader) -> ProfileView:
    """One profile."""
    caller = await of_tenant(state, caller, tenant_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        return _view(await profiles.profile_of(session, caller.tenant_id, profile_name))


@router.put("/v1/tenants/{tenant_id}/model-profiles/{profile_name}")
async def replace_profile(
    tenant_id: str, profile_name: str, body: ProfileModels, state: StateDep, caller: Writer
) -> ProfileView:
    """Put other models into a profile; what the body leaves out is gone."""
    caller = await _changing(state, caller, tenant_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        return _view(await profiles.replace(session, caller, profile_name, body))


@router.post("/v1/tenants/{tenant_id}/model-profiles/{profile_name}/default")
async def choose_default(tenant_id: str, profile_name: str, state: StateDep, caller: Writer) -> ProfileView:
    """Make this profile the one that models are chosen by, instead of the one before."""
    caller = await _changing(state, caller, tenant_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        return _view(await profiles.make_default(session, caller, profile_name))


@router.delete("/v1/tenants/{tenant_id}/model-profiles/{profile_name}", status_code=204)
async def delete_profile(tenant_id: str, profile_name: str, state: StateDep, caller: Writer) -> Response:
    """Delete a profile; the default in use cannot be deleted."""
    caller = await _changing(state, caller, tenant_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        await profiles.delete(session, caller, profile_name)
    return Response(status_code=204)


async def _changing(state: State, caller: Caller, tenant_id: str) -> Caller:
    """The caller as one who may change what this tenant's agents are made of."""
    caller = await of_tenant(state, caller, tenant_id)
    state.gate.training.require_free(caller)
    return caller


def _view(row: ModelProfile) -> ProfileView:
    kept = ProfileModels.model_validate(row.profile)
    fields = {name: getattr(kept, name) for name in ProfileModels.model_fields}
    return ProfileView(
        name=row.name,
        is_default=row.is_default,
        created_by=row.created_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        **fields,
    )

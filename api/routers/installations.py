"""Installations: which version of a capsule is in force in which environment of the tenant."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from somagent.adapters.postgres.tables import Installation
from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    Page,
    PageDep,
    StateDep,
    Timestamp,
    created,
    creating,
    fetch_page,
    requires,
    soma_router,
)
from somagent.api.following import telling
from somagent.domain.messages.installation import InstallationFailure, InstallationStatus
from somagent.domain.model import Model
from somagent.services.capsules import installations

router = soma_router("task-capsule-repo")

Reader = Annotated[Caller, Depends(requires("capsule:read"))]
Installer = Annotated[Caller, Depends(requires("capsule:install"))]


class InstallationView(Model):
    """One version of a capsule in one environment."""

    id: UUID
    capsule_id: str
    version: str
    environment: str
    source: str = Field(description="filesystem or marketplace")
    submission_id: UUID | None
    attestation_hash: str
    status: InstallationStatus
    notes: str | None
    error: InstallationFailure | None = Field(description="Why it failed, and at which step")
    previous_id: UUID | None = Field(description="The installation that it superseded")
    installed_by: str
    workflow_id: str | None = Field(description="None for what a new tenant came with")
    created_at: Timestamp
    finished_at: Timestamp | None


@router.post("/v1/installations", status_code=202, response_model=InstallationView)
async def install(
    request: Request,
    body: installations.NewInstallation,
    state: StateDep,
    caller: Installer,
    key: IdempotencyKey = None,
) -> Response:
    """Install a capsule: installing, then installed or failed, and a failed one leaves nothing behind.

    Another version that is installed stays in force until this one is, and is then superseded.
    """
    state.gate.training.require_free(caller)

    async def make(session: AsyncSession) -> Answer:
        row, recorded = await installations.install(session, state.folder, caller, body)
        return created(202, _view(row), location=_location(row), after_commit=(telling(state, recorded),))

    return await creating(request, caller, key, body, make)


@router.get("/v1/installations")
async def list_installations(
    state: StateDep,
    page: PageDep,
    caller: Reader,
    environment: Annotated[str | None, Query(max_length=64)] = None,
    capsule_id: Annotated[str | None, Query(max_length=200)] = None,
    status: InstallationStatus | None = None,
) -> Page[InstallationView]:
    """The tenant's installations, newest first, past ones included."""
    query = select(Installation).where(Installation.tenant_id == caller.tenant_id)
    for column, wanted in (
        (Installation.environment, environment),
        (Installation.capsule_id, capsule_id),
        (Installation.status, None if status is None else status.value),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    async with state.app_db.tenant(caller.tenant_id) as session:
        return await fetch_page(
            session, query, page, Installation.created_at, Installation.id, lambda row: _view(row[0])
        )


@router.get("/v1/installations/{installation_id}")
async def read(installation_id: UUID, state: StateDep, caller: Reader) -> InstallationView:
    """One installation."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        return _view(await installations.installation_of(session, caller.tenant_id, installation_id))


@router.post("/v1/installations/{installation_id}/upgrade", status_code=202, response_model=InstallationView)
async def upgrade(
    request: Request,
    installation_id: UUID,
    state: StateDep,
    caller: Installer,
    body: installations.Upgrade | None = None,
    key: IdempotencyKey = None,
) -> Response:
    """Install another version in its place (the newest approved when none is named); answers the new installation."""
    state.gate.training.require_free(caller)
    wanted = body or installations.Upgrade()

    async def make(session: AsyncSession) -> Answer:
        row, recorded = await installations.upgrade(session, state.folder, caller, installation_id, wanted)
        return created(202, _view(row), location=_location(row), after_commit=(telling(state, recorded),))

    return await creating(request, caller, key, wanted, make)


@router.post("/v1/installations/{installation_id}/rollback", response_model=InstallationView)
async def roll_back(
    request: Request, installation_id: UUID, state: StateDep, caller: Installer, key: IdempotencyKey = None
) -> Response:
    """Put the version installed before back in force at once; answers its installation, which is installed again."""
    state.gate.training.require_free(caller)

    async def make(session: AsyncSession) -> Answer:
        row = await installations.roll_back(session, caller, installation_id)
        return created(200, _view(row), location=_location(row))

    return await creating(request, caller, key, b"", make)


@router.delete("/v1/installations/{installation_id}", status_code=204)
async def uninstall(installation_id: UUID, state: StateDep, caller: Installer) -> Response:
    """Uninstall: no new jobs start with it. The record stays, with status uninstalled, and so do its memories."""
    state.gate.training.require_free(caller)
    async with state.app_db.tenant(caller.tenant_id) as session:
        await installations.uninstall(session, caller, installation_id)
    return Response(status_code=204)


def _location(row: Installation) -> str:
    return f"/v1/installations/{row.id}"


def _view(row: Installation) -> InstallationView:
    return InstallationView(**{name: getattr(row, name) for name in InstallationView.model_fields})

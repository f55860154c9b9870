"""Training sessions: who may change what agents are made of."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from somagent.adapters.postgres.tables import TrainingSession
from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    State,
    StateDep,
    Timestamp,
    created,
    creating,
    requires,
    soma_router,
)
from somagent.api.security import acting_for
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.services.identity import training

router = soma_router("identity")

Trainer = Annotated[Caller, Depends(requires("training:manage"))]


class TrainingView(Model):
    """Whether a tenant's agents are being trained, and by whom: the open session, else the last one."""

    tenant_id: str
    active: bool = Field(description="While it is, only `started_by` changes what the agents are made of")
    id: UUID | None = None
    reason: str | None = None
    started_by: str | None = None
    started_at: Timestamp | None = None
    stopped_by: str | None = None
    stopped_at: Timestamp | None = None


@router.post("/v1/training/start", status_code=201, response_model=TrainingView)
async def start(
    request: Request, body: training.NewTraining, state: StateDep, caller: Trainer, key: IdempotencyKey = None
) -> Response:
    """Open a training session: until it is stopped, nobody else installs capsules or changes rules, model profiles
    and the constitution."""
    caller = await _acting(state, caller, body.tenant_id)

    async def make(session: AsyncSession) -> Answer:
        row = await training.start(session, caller, body)
        return created(201, _view(row.tenant_id, row), location=f"/v1/training/{row.tenant_id}")

    answer = await creating(request, caller, key, body, make)
    await state.gate.watch.refresh()
    return answer


@router.post("/v1/training/stop")
async def stop(state: StateDep, caller: Trainer, body: training.TrainingEnd | None = None) -> TrainingView:
    """Close the open session: who opened it may, and whoever holds `identity:admin`."""
    caller = await _acting(state, caller, None if body is None else body.tenant_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        row = await training.stop(session, caller)
    await state.gate.watch.refresh()
    return _view(caller.tenant_id, row)


@router.get("/v1/training/{tenant}")
async def read(tenant: str, state: StateDep, caller: Trainer) -> TrainingView:
    """Whether the tenant's agents are being trained."""
    try:
        caller = await acting_for(state, caller, tenant)
    except SomaError as error:
        raise SomaError(Code.NOT_FOUND, "There is no such tenant.") from error
    async with state.app_db.tenant(caller.tenant_id) as session:
        return _view(caller.tenant_id, await training.latest(session, caller.tenant_id))


async def _acting(state: State, caller: Caller, tenant: str | None) -> Caller:
    return caller if tenant is None else await acting_for(state, caller, tenant, "tenant_id")


def _view(tenant_id: str, row: TrainingSession | None) -> TrainingView:
    if row is None:
        return TrainingView(tenant_id=tenant_id, active=False)
    kept = {name: getattr(row, name) for name in TrainingView.model_fields if name not in ("tenant_id", "active")}
    return TrainingView(tenant_id=tenant_id, active=row.stopped_at is None, **kept)

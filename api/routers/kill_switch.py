"""The kill switch: everything, a tenant, a capsule or a run is stopped, and stays stopped until somebody lifts it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final, Literal
from uuid import UUID

import asyncpg
from fastapi import Depends
from pydantic import Field, StringConstraints
from sqlalchemy import select

from somagent.adapters.postgres.tables import KillSwitch
from somagent.api.deps import (
    Caller,
    Page,
    PageDep,
    State,
    StateDep,
    Timestamp,
    fetch_page,
    holds,
    requires,
    soma_router,
)
from somagent.api.tenancy import of_tenant
from somagent.domain.capabilities import Capability
from somagent.domain.capsules.definition import CAPSULE_ID
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.services.kill_switch.scope import Scope, ScopeName
from somagent.services.kill_switch.standing import Standing, standing
from somagent.services.kill_switch.switches import engage, lift, require_target, stop

router = soma_router("policy-engine")

WAIT_SECONDS: Final = 3.0
"""How long engaging waits for what it stops; then it says what still runs."""

Operator = Annotated[Caller, Depends(requires("kill:global"))]
Stopper = Annotated[Caller, Depends(requires("kill:tenant"))]


class Engagement(Model):
    """Why everything has to stop."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)] = Field(
        description="Shown to everybody who is refused, and in every job that is stopped"
    )


class RunningView(Model):
    """Something that has not stopped yet."""

    id: str
    kind: Literal["job", "session"]
    status: str = Field(description="As recorded; `killed` where only its workflow in Temporal has not closed yet")
    workflow_id: str
    since: Timestamp = Field(description="When it began")


class KillSwitchView(Model):
    """A kill switch as it stands at this moment."""

    scope: ScopeName
    target: str = Field(description="The tenant, capsule or run; empty for everything")
    engaged: bool
    reason: str | None
    engaged_by: str | None
    engaged_at: Timestamp | None
    stopped: int = Field(description="Jobs and sessions that it has ended")
    still_running: int = Field(description="Jobs and sessions that have not ended; all are counted")
    running: list[RunningView] = Field(description="The first 50 of them, those of the caller's tenant")
    workflows_checked: bool = Field(
        description="Whether Temporal confirmed that the workflows of what ended (the last 200) have closed"
    )


@router.put("/v1/kill-switch/global")
async def engage_global(body: Engagement, state: StateDep, caller: Operator) -> KillSwitchView:
    """Stop everything of every tenant. Waits up to 3 s for it to stop, and says what still runs."""
    return await _engage(state, caller, Scope("global"), body.reason)


@router.put("/v1/kill-switch/tenant/{tenant_id}")
async def engage_tenant(tenant_id: str, body: Engagement, state: StateDep, caller: Stopper) -> KillSwitchView:
    """Stop everything of a tenant; another one than the caller's needs `tenant:any`."""
    return await _engage(state, caller, await _tenant(state, caller, tenant_id), body.reason)


@router.put("/v1/kill-switch/capsule/{capsule_id}")
async def engage_capsule(capsule_id: str, body: Engagement, state: StateDep, caller: Stopper) -> KillSwitchView:
    """Stop every job and session of a capsule in the caller's tenant, with the jobs that they opened."""
    return await _engage(state, caller, _capsule(caller, capsule_id), body.reason)


@router.put("/v1/kill-switch/run/{run_id}")
async def engage_run(run_id: UUID, body: Engagement, state: StateDep, caller: Stopper) -> KillSwitchView:
    """Stop a job or a session, with every job that it opened."""
    return await _engage(state, caller, Scope("run", caller.tenant_id, str(run_id)), body.reason)


@router.delete("/v1/kill-switch/global")
async def lift_global(state: StateDep, caller: Operator) -> KillSwitchView:
    """Take new work again. What was stopped stays stopped until somebody retries it."""
    return await _lift(state, caller, Scope("global"))


@router.delete("/v1/kill-switch/tenant/{tenant_id}")
async def lift_tenant(tenant_id: str, state: StateDep, caller: Stopper) -> KillSwitchView:
    """Let the tenant work again."""
    return await _lift(state, caller, await _tenant(state, caller, tenant_id))


@router.delete("/v1/kill-switch/capsule/{capsule_id}")
async def lift_capsule(capsule_id: str, state: StateDep, caller: Stopper) -> KillSwitchView:
    """Let the capsule run again."""
    return await _lift(state, caller, _capsule(caller, capsule_id))


@router.delete("/v1/kill-switch/run/{run_id}")
async def lift_run(run_id: UUID, state: StateDep, caller: Stopper) -> KillSwitchView:
    """Let the run be retried."""
    return await _lift(state, caller, Scope("run", caller.tenant_id, str(run_id)))


@router.get("/v1/kill-switch")
async def list_engaged(state: StateDep, page: PageDep, caller: Stopper) -> Page[KillSwitchView]:
    """The switches that stop something for the caller's tenant, newest first, counted in that tenant alone."""
    engaged = select(KillSwitch).where(KillSwitch.lifted_at.is_(None))
    async with state.app_db.tenant(caller.tenant_id) as session:
        found = await fetch_page(session, engaged, page, KillSwitch.engaged_at, KillSwitch.id, lambda row: row[0])
    async with state.app_db.connection(caller.tenant_id) as connection:
        items = [await standing(connection, Scope(row.scope, row.tenant_id, row.target), None) for row in found.items]
    return Page(items=[_view(item, caller) for item in items], next_cursor=found.next_cursor)


@router.get("/v1/kill-switch/global")
async def read_global(state: StateDep, caller: Operator) -> KillSwitchView:
    """Whether everything is stopped, and what of it still runs."""
    return await _read(state, caller, Scope("global"))


@router.get("/v1/kill-switch/tenant/{tenant_id}")
async def read_tenant(tenant_id: str, state: StateDep, caller: Stopper) -> KillSwitchView:
    """Whether the tenant is stopped, and what of it still runs."""
    return await _read(state, caller, await _tenant(state, caller, tenant_id))


@router.get("/v1/kill-switch/capsule/{capsule_id}")
async def read_capsule(capsule_id: str, state: StateDep, caller: Stopper) -> KillSwitchView:
    """Whether the capsule is stopped, and what of it still runs."""
    return await _read(state, caller, _capsule(caller, capsule_id))


@router.get("/v1/kill-switch/run/{run_id}")
async def read_run(run_id: UUID, state: StateDep, caller: Stopper) -> KillSwitchView:
    """Whether the run is stopped, and what of it still runs."""
    return await _read(state, caller, Scope("run", caller.tenant_id, str(run_id)))


async def _engage(state: State, caller: Caller, scope: Scope, reason: str) -> KillSwitchView:
    async with _connection(state, scope) as connection:
        look = await engage(connection, caller, scope, reason)
    await state.gate.watch.refresh()
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        for order in look.orders:
            state.starter.submit(order)
        await asyncio.sleep(0.1)
        late = time.monotonic() > deadline
        async with _connection(state, scope) as connection:
            found = await standing(connection, scope, None)
            if late or not found.still_running:
                found = await standing(connection, scope, state.temporal)
                if late or not found.still_running:
                    return _view(found, caller)
            async with connection.transaction():  # what somebody held at the last look
                look = await stop(connection)


async def _lift(state: State, caller: Caller, scope: Scope) -> KillSwitchView:
    async with _connection(state, scope) as connection:
        await lift(connection, caller, scope)
    await state.gate.watch.refresh()
    return _view(Standing(scope), caller)


async def _read(state: State, caller: Caller, scope: Scope) -> KillSwitchView:
    async with _connection(state, scope) as connection:
        await require_target(connection, scope)
        return _view(await standing(connection, scope, state.temporal), caller)


@asynccontextmanager
async def _connection(state: State, scope: Scope) -> AsyncIterator[asyncpg.Connection]:
    """Bound to the scope's tenant; across tenants for everything."""
    database = state.system_db if scope.name == "global" else state.app_db
    async with database.connection(scope.tenant_id) as connection:
        yield connection


async def _tenant(state: State, caller: Caller, tenant_id: str) -> Scope:
    found = await of_tenant(state, caller, tenant_id)
    return Scope("tenant", found.tenant_id, found.tenant_id)


def _capsule(caller: Caller, capsule_id: str) -> Scope:
    if not re.fullmatch(CAPSULE_ID, capsule_id):
        raise SomaError(Code.NOT_FOUND, "There is no such capsule.")
    return Scope("capsule", caller.tenant_id, capsule_id)


def _view(found: Standing, caller: Caller) -> KillSwitchView:
    everywhere = holds(caller, Capability.TENANT_ANY)
    return KillSwitchView(
        scope=found.scope.name,
        target=found.scope.target,
        engaged=found.engaged,
        reason=found.reason,
        engaged_by=found.engaged_by,
        engaged_at=found.engaged_at,
        stopped=found.stopped,
        still_running=found.still_running,
        running=[
            RunningView(id=one.id, kind=one.kind, status=one.status, workflow_id=one.workflow_id, since=one.since)
            for one in found.running
            if everywhere or one.tenant_id == caller.tenant_id
        ],
        workflows_checked=found.workflows_checked,
    )

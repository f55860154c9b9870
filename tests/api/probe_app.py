"""The API as it is, with one more router made as any router is made: it shows what the frame does for all of them.

Run as a process: ``python -m somagent.tests.api.probe_app PORT``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import Depends, Request
from pydantic import Field, JsonValue
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from somagent.adapters.logs import configure_logging
from somagent.adapters.postgres.tables import Notification
from somagent.api.app import create_app
from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    Page,
    PageDep,
    StateDep,
    TenantConnection,
    Timestamp,
    created,
    creating,
    creating_fast,
    fetch_page,
    requires,
    soma_router,
)
from somagent.api.server import run
from somagent.api.switchboard import Switchboard
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model

router = soma_router("probe")

Reader = Annotated[Caller, Depends(requires("job:read"))]
Writer = Annotated[Caller, Depends(requires("job:submit"))]
AnyTenant = Annotated[Caller, Depends(requires("tenant:any"))]


class NewThing(Model):
    message: str = Field(min_length=1, max_length=1000)
    seconds: float = Field(default=0, ge=0, le=5)
    fails: bool = False


class Inner(Model):
    numbers: tuple[int, ...] = ()


class Anything(Model):
    value: JsonValue = None
    number: float = 0
    inner: Inner = Inner()


class ThingView(Model):
    id: UUID
    message: str
    created_at: Timestamp


class WhoView(Model):
    user: str
    tenant: str


def _view(row: Notification) -> ThingView:
    return ThingView(id=row.id, message=row.message, created_at=row.created_at)


@router.get("/v1/probe/who")
async def who(caller: Reader) -> WhoView:
    return WhoView(user=caller.user_id, tenant=caller.tenant_id)


@router.get("/v1/probe/any-tenant")
async def any_tenant(caller: AnyTenant) -> WhoView:
    return WhoView(user=caller.user_id, tenant=caller.tenant_id)


@router.get("/v1/probe/boom")
async def boom() -> None:
    raise RuntimeError("the secret reason")


@router.post("/v1/probe/echo")
async def echo(body: Anything, caller: Reader) -> Anything:
    return body


@router.get("/v1/probe/things")
async def things(state: StateDep, caller: Reader, page: PageDep, text: str | None = None) -> Page[ThingView]:
    statement = select(Notification) if text is None else select(Notification).where(Notification.message == text)
    async with state.app_db.tenant(caller.tenant_id) as session:
        return await fetch_page(
            session, statement, page, Notification.created_at, Notification.id, lambda row: _view(row[0])
        )


@router.get("/v1/probe/things/{thing_id}")
async def thing(thing_id: UUID, state: StateDep, caller: Reader) -> ThingView:
    async with state.app_db.tenant(caller.tenant_id) as session:
        row = await session.get(Notification, thing_id)
        if row is None:
            raise SomaError(Code.NOT_FOUND, "There is no such thing.")
        return _view(row)


@router.post("/v1/probe/things", status_code=201, response_model=ThingView)
async def make_thing(request: Request, body: NewThing, caller: Writer, key: IdempotencyKey = None) -> Response:
    async def make(session: AsyncSession) -> Answer:
        thing_id = uuid4()
        row = Notification(
            id=thing_id, tenant_id=caller.tenant_id, effect_key=str(thing_id), channel="web", message=body.message,
            severity="info",
        )  # fmt: skip
        session.add(row)
        await session.flush()
        await session.refresh(row)
        await asyncio.sleep(body.seconds)
        if body.fails:
            raise SomaError(Code.JOB_NOT_ACTIVE, "It was to fail.")
        return created(201, _view(row), location=f"/v1/probe/things/{thing_id}")

    return await creating(request, caller, key, body, make)


@router.post("/v1/probe/fast", status_code=201, response_model=WhoView)
async def make_fast(request: Request, body: NewThing, caller: Writer, key: IdempotencyKey = None) -> Response:
    async def make(connection: TenantConnection) -> Answer:
        thing_id = uuid4()
        await connection.execute(
            "INSERT INTO notifications (id, tenant_id, effect_key, channel, message, severity) "
            "VALUES ($1, $2, $3, 'web', $4, 'info')",
            thing_id, caller.tenant_id, str(thing_id), body.message,
        )  # fmt: skip
        await asyncio.sleep(body.seconds)
        if body.fails:
            raise SomaError(Code.JOB_NOT_ACTIVE, "It was to fail.")
        view = WhoView(user=caller.user_id, tenant=caller.tenant_id)
        return created(201, view, location=f"/v1/probe/things/{thing_id}")

    return await creating_fast(request, caller, key, body, make)


if __name__ == "__main__":
    configure_logging()
    app = create_app()
    app.router.routes.append(Switchboard([router]))
    run(app, "127.0.0.1", int(sys.argv[1]))

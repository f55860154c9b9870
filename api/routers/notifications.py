"""Notifications: sent to a channel, listed, followed."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import uuid4

from fastapi import Depends, Query, Request
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import Notification
from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    Page,
    PageDep,
    StateDep,
    created,
    creating,
    fetch_page,
    requires,
    soma_router,
)
from somagent.api.notification_stream import notification_stream
from somagent.domain.model import Model
from somagent.domain.names import UserId
from somagent.services.notification_lists import NotificationStatus, NotificationView, view, visible
from somagent.services.notifications import WEB, notify

router = soma_router("notification")

Sender = Annotated[Caller, Depends(requires("notification:send"))]
Severity = Literal["info", "warning", "error", "critical"]


class SendNotification(Model):
    """A message for one person, or for everyone of the tenant where ``user_id`` is absent."""

    channel: Annotated[str, Field(min_length=1, max_length=100)] = WEB
    message: Annotated[str, Field(min_length=1, max_length=10_000)]
    severity: Severity = "info"
    user_id: UserId | None = None


@router.post("/v1/notifications", status_code=201, response_model=NotificationView)
async def send(
    request: Request, body: SendNotification, state: StateDep, caller: Sender, key: IdempotencyKey = None
) -> Response:
    """Send a message. Channel `web` is delivered by being listed; a webhook is posted to, up to ten times."""
    state.gate.kills.require_off(caller.tenant_id)
    state.channels.check(body.channel)

    async def make(session: AsyncSession) -> Answer:
        sent = await notify(
            await raw_connection(session),
            caller.tenant_id,
            effect_key=f"api:{uuid4()}",
            channel=body.channel,
            message=body.message,
            severity=body.severity,
            user_id=body.user_id,
        )
        row = await session.get_one(Notification, sent.notification_id)
        return created(201, view(row))

    return await creating(request, caller, key, body, make)


@router.get("/v1/notifications")
async def notifications(
    state: StateDep,
    caller: Sender,
    page: PageDep,
    status: Annotated[list[NotificationStatus] | None, Query()] = None,
    severity: Severity | None = None,
    channel: Annotated[str | None, Query(max_length=100)] = None,
) -> Page[NotificationView]:
    """The caller's notifications and those for everyone of the tenant, newest first."""
    statement = visible(caller.user_id, statuses=status or (), severity=severity, channel=channel)
    async with state.app_db.tenant(caller.tenant_id) as session:
        return await fetch_page(
            session, statement, page, Notification.created_at, Notification.id, lambda row: view(row[0])
        )


@router.get("/v1/notifications/backlog")
async def backlog(state: StateDep, caller: Sender, page: PageDep) -> Page[NotificationView]:
    """What is not delivered yet: waiting for its first or its next attempt."""
    statement = visible(caller.user_id, statuses=[NotificationStatus.PENDING])
    async with state.app_db.tenant(caller.tenant_id) as session:
        return await fetch_page(
            session, statement, page, Notification.created_at, Notification.id, lambda row: view(row[0])
        )


@router.get("/v1/notifications/stream", responses={200: {"content": {"text/event-stream": {}}}})
async def stream(request: Request, state: StateDep, caller: Sender) -> Response:
    """Notifications as they are made (server-sent); `Last-Event-ID` goes on after that one."""
    return await notification_stream(request, state, caller)

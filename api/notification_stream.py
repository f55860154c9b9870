"""Notifications as server-sent events: read from Postgres, resumed by Last-Event-ID."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from somagent.api.deps import Caller
from somagent.api.state import State
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.notification_preferences import NotificationPreferences
from somagent.services.notification_lists import OVERLAP, NotificationView, following, place_of
from somagent.services.settings.preferences import read_preferences

LOOK_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 15.0
_LAST_ID = UUID(int=2**128 - 1)
_FIRST_ID = UUID(int=0)


@dataclass(slots=True)
class _Place:
    """How far a reader has come.

    A notification's moment lies before its commit, so one can appear behind the newest that was sent. The reader
    therefore looks again at the last seconds, and keeps in mind what it has sent of them.
    """

    floor: tuple[datetime, UUID]
    newest: datetime
    sent: dict[UUID, datetime] = field(default_factory=dict)

    def after(self) -> tuple[datetime, UUID]:
        return max(self.floor, (self.newest - OVERLAP, _FIRST_ID))

    def took(self, notification: NotificationView) -> None:
        self.newest = max(self.newest, notification.created_at)
        self.sent[notification.id] = notification.created_at
        horizon = self.newest - OVERLAP
        self.sent = {key: moment for key, moment in self.sent.items() if moment >= horizon}


async def notification_stream(request: Request, state: State, caller: Caller) -> Response:
    """What comes after ``Last-Event-ID``, else after now; an id that is gone counts as now.

    Raises:
        SomaError: ``validation_failed`` for an id that is none of ours.
    """
    place = await _start(request, state, caller)
    return StreamingResponse(
        _events(request, state, caller, place),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _start(request: Request, state: State, caller: Caller) -> _Place:
    given = request.headers.get("last-event-id", "").strip()
    async with state.app_db.connection(caller.tenant_id) as connection:
        if given:
            last = _uuid(given)
            moment = await place_of(connection, caller.tenant_id, caller.user_id, last)
            if moment is not None:
                return _Place((moment, last), moment)
        now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return _Place((now.astimezone(UTC), _LAST_ID), now)


def _uuid(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        detail = "Last-Event-ID is the `id` of a notification."
        fault = Fault("header.Last-Event-ID", "event_id", detail)
        raise SomaError(Code.VALIDATION_FAILED, detail, errors=[fault]) from None


def _wanted(wish: NotificationPreferences, notification: NotificationView) -> bool:
    """Whether its reader wants to be told of it now; it is listed in any case."""
    wanted = wish.wants(notification.severity, notification.channel)
    return wanted and wish.quiet_until(datetime.now(UTC), notification.severity) is None


async def _events(request: Request, state: State, caller: Caller, place: _Place) -> AsyncIterator[bytes]:
    yield b"retry: 1000\n\n"
    quiet = 0.0
    while not await request.is_disconnected():
        async with state.app_db.connection(caller.tenant_id) as connection:
            found = await following(connection, caller.tenant_id, caller.user_id, place.after(), list(place.sent))
            wish = (
                (await read_preferences(connection, [(caller.tenant_id, caller.user_id)])).of(
                    caller.tenant_id, caller.user_id
                )
                if found
                else None
            )
        for notification in found:
            place.took(notification)
            if wish is not None and not _wanted(wish, notification):
                continue
            data = notification.model_dump_json()
            yield f"id: {notification.id}\nevent: notification\ndata: {data}\n\n".encode()
        if found:
            quiet = 0.0
            continue
        await asyncio.sleep(LOOK_SECONDS)
        quiet += LOOK_SECONDS
        if quiet >= KEEP_ALIVE_SECONDS:
            quiet = 0.0
            yield b": still here\n\n"

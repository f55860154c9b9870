"""A session's events as server-sent events."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from somagent.adapters.postgres.database import TenantConnection
from somagent.api.sse import Look, event_stream, last_event_id
from somagent.api.state import State
from somagent.services.sessions.reading import read_events, session_status
from somagent.services.wakeups import session_channel


async def session_event_stream(
    request: Request, state: State, tenant_id: str, session_id: UUID, user_id: str | None
) -> Response:
    """Every event of the session after ``Last-Event-ID``; the stream ends with the session.

    Raises:
        SomaError: ``not_found``; ``validation_failed`` for an id that is not one of ours.
    """
    after = last_event_id(request)
    async with state.app_db.connection(tenant_id) as connection:
        await session_status(connection, session_id, user_id)
    source = _SessionEvents(session_id, session_channel(session_id))
    return event_stream(request, state, tenant_id, source, after)


@dataclass(frozen=True, slots=True)
class _SessionEvents:
    session_id: UUID
    channel: str

    async def look(self, connection: TenantConnection, after: int) -> Look:
        status = await session_status(connection, self.session_id, None)
        return Look(status != "active", await read_events(connection, self.session_id, after))

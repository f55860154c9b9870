"""Server-sent events of things whose events are rows: read from Postgres, woken by Redis, resumed by Last-Event-ID."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import asyncpg
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from somagent.adapters.postgres.database import TenantConnection
from somagent.api.state import State
from somagent.domain.errors import Code, Fault, SomaError
from somagent.services.wakeups import heard

LOOK_SECONDS = 1.0
"""How long a missed wake-up can delay an event."""
KEEP_ALIVE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Look:
    """What there is of events, as of one look.

    Attributes:
        ended: no event follows those of ``rows``.
        rows: with columns ``seq``, ``type``, ``data`` (JSON text) and ``at`` (RFC 3339).
    """

    ended: bool
    rows: Sequence[asyncpg.Record]


class EventSource(Protocol):
    """Something with events."""

    @property
    def channel(self) -> str:
        """Where its changes are told."""
        ...

    async def look(self, connection: TenantConnection, after: int) -> Look:
        """The events after number ``after``.

        The status is read before the events: what has ended before the look has all its events in it.
        """
        ...


def event_stream(request: Request, state: State, tenant_id: str, source: EventSource, after: int) -> Response:
    """Every event after number ``after``; the stream ends with what it is about."""
    return StreamingResponse(
        _events(request, state, tenant_id, source, after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def last_event_id(request: Request) -> int:
    """The number after which to go on; 0 where the header is absent.

    Raises:
        SomaError: ``validation_failed`` for an id that is not one of ours.
    """
    given = request.headers.get("last-event-id", "").strip()
    if not given:
        return 0
    if not given.isascii() or not given.isdigit() or len(given) > 15:
        detail = "Last-Event-ID is the `id` of an event of this stream."
        raise SomaError(Code.VALIDATION_FAILED, detail, errors=[Fault("header.Last-Event-ID", "event_id", detail)])
    return int(given)


async def _events(
    request: Request, state: State, tenant_id: str, source: EventSource, after: int
) -> AsyncIterator[bytes]:
    quiet = 0.0
    async with heard(state.redis, source.channel) as changed:
        yield b"retry: 1000\n\n"
        while not await request.is_disconnected():
            changed.clear()
            async with state.app_db.connection(tenant_id) as connection:
                look = await source.look(connection, after)
            for row in look.rows:
                after = row["seq"]
                data = f'{{"at":"{row["at"]}","data":{row["data"]}}}'
                yield f"id: {after}\nevent: {row['type']}\ndata: {data}\n\n".encode()
            if look.rows:
                quiet = 0.0
                continue
            if look.ended:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), LOOK_SECONDS)
            quiet += LOOK_SECONDS
            if quiet >= KEEP_ALIVE_SECONDS:
                quiet = 0.0
                yield b": still here\n\n"

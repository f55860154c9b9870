"""A job's events as server-sent events: read from Postgres, woken by Redis, resumed by Last-Event-ID."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

from redis.exceptions import RedisError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from somagent.api.state import State
from somagent.domain.errors import Code, Fault, SomaError
from somagent.services.jobs.reading import read_events
from somagent.services.wakeups import CHANNEL

LOOK_SECONDS = 1.0
"""How long a missed wake-up can delay an event."""
KEEP_ALIVE_SECONDS = 15.0
_ENDED = ("completed", "failed", "cancelled", "killed")


async def job_event_stream(request: Request, state: State, tenant_id: str, job_id: UUID) -> Response:
    """Every event of the job after ``Last-Event-ID``; the stream ends with the job.

    Raises:
        SomaError: ``not_found``; ``validation_failed`` for an id that is not one of ours.
    """
    after = _last_event_id(request)
    async with state.app_db.connection(tenant_id) as connection:
        if await connection.fetchval("SELECT 1 FROM jobs WHERE id = $1", job_id) is None:
            raise SomaError(Code.NOT_FOUND, "There is no such job.")
    return StreamingResponse(
        _events(request, state, tenant_id, job_id, after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _last_event_id(request: Request) -> int:
    given = request.headers.get("last-event-id", "").strip()
    if not given:
        return 0
    if not given.isascii() or not given.isdigit() or len(given) > 15:
        detail = "Last-Event-ID is the `id` of an event of this job."
        raise SomaError(Code.VALIDATION_FAILED, detail, errors=[Fault("header.Last-Event-ID", "event_id", detail)])
    return int(given)


async def _events(request: Request, state: State, tenant_id: str, job_id: UUID, after: int) -> AsyncIterator[bytes]:
    changed = asyncio.Event()
    listening = asyncio.create_task(_listen(state, job_id, changed))
    quiet = 0.0
    try:
        yield b"retry: 1000\n\n"
        while not await request.is_disconnected():
            changed.clear()
            async with state.app_db.connection(tenant_id) as connection:
                # The status first: a job that has ended before the look has all its events in it.
                status = await connection.fetchval("SELECT status FROM jobs WHERE id = $1", job_id)
                rows = await read_events(connection, job_id, after)
            for row in rows:
                after = row["seq"]
                data = f'{{"at":"{row["at"]}","data":{row["data"]}}}'
                yield f"id: {after}\nevent: {row['type']}\ndata: {data}\n\n".encode()
            if rows:
                quiet = 0.0
                continue
            if status in _ENDED:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), LOOK_SECONDS)
            quiet += LOOK_SECONDS
            if quiet >= KEEP_ALIVE_SECONDS:
                quiet = 0.0
                yield b": still here\n\n"
    finally:
        listening.cancel()


async def _listen(state: State, job_id: UUID, changed: asyncio.Event) -> None:
    """Set ``changed`` whenever a worker says so; without Redis the stream looks every second."""
    while True:
        with suppress(RedisError, OSError):
            async with state.redis.pubsub() as pubsub:
                await pubsub.subscribe(CHANNEL.format(job_id=job_id))
                while True:
                    if await pubsub.get_message(ignore_subscribe_messages=True, timeout=5.0) is not None:
                        changed.set()
        await asyncio.sleep(LOOK_SECONDS)

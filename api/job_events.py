"""A job's events as server-sent events."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from somagent.adapters.postgres.database import TenantConnection
from somagent.api.sse import Look, event_stream, last_event_id
from somagent.api.state import State
from somagent.domain.errors import Code, SomaError
from somagent.services.jobs.reading import read_events
from somagent.services.wakeups import job_channel

_ENDED = ("completed", "failed", "cancelled", "killed")


async def job_event_stream(request: Request, state: State, tenant_id: str, job_id: UUID) -> Response:
    """Every event of the job after ``Last-Event-ID``; the stream ends with the job.

    Raises:
        SomaError: ``not_found``; ``validation_failed`` for an id that is not one of ours.
    """
    after = last_event_id(request)
    async with state.app_db.connection(tenant_id) as connection:
        if await connection.fetchval("SELECT 1 FROM jobs WHERE id = $1", job_id) is None:
            raise SomaError(Code.NOT_FOUND, "There is no such job.")
    return event_stream(request, state, tenant_id, _JobEvents(job_id, job_channel(job_id)), after)


@dataclass(frozen=True, slots=True)
class _JobEvents:
    job_id: UUID
    channel: str

    async def look(self, connection: TenantConnection, after: int) -> Look:
        status = await connection.fetchval("SELECT status FROM jobs WHERE id = $1", self.job_id)
        return Look(status in _ENDED, await read_events(connection, self.job_id, after))

"""What the author of a router needs, in one place.

    router = soma_router("jobs")                       # the service's name; paths are written in full: "/v1/jobs"

    @router.get("/v1/jobs/{job_id}")                   # a path parameter typed UUID answers 404 when it is none
    async def read(job_id: UUID, state: StateDep, caller: Annotated[Caller, Depends(requires("job:read"))]) -> JobView:
        async with state.app_db.tenant(caller.tenant_id) as session:    # one unit of work; commits at its end
            ...

    @router.get("/v1/jobs")
    async def jobs(state: StateDep, page: PageDep, caller: ...) -> Page[JobView]:
        async with state.app_db.tenant(caller.tenant_id) as session:
            return await fetch_page(session, select(Job), page, Job.created_at, Job.id, lambda row: view(row[0]))

    @router.post("/v1/jobs", status_code=202, response_model=JobView)
    async def submit(request: Request, body: SubmitJob, key: IdempotencyKey = None, *, caller: ...) -> Response:
        async def make(session: AsyncSession) -> Answer:                # or TenantConnection with creating_fast
            ...
            return created(202, view, location=f"/v1/jobs/{job.id}", after_commit=(start,))
        return await creating(request, caller, key, body, make)

- Bodies are ``somagent.domain.model.Model`` (unknown fields are faults). Everything is ``async def``.
- Refusals are ``SomaError(Code.X, "what, why, what to do")``; several faults at once go into ``errors=[Fault(...)]``.
- On the hot path ``state_of(request)`` instead of ``StateDep`` saves a dependency.
- ``Timestamp`` for every moment in a view. ``json_response(bytes_or_model)`` skips FastAPI's own serialisation.
- ``require(caller, "capsule:override")`` for a capability that only some requests need.
- ``request_id(request)`` and ``traceparent(request)`` for what a request hands on.
"""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from somagent.adapters.postgres.database import TenantConnection
from somagent.api.body import StrictRoute
from somagent.api.creating import IdempotencyKey, created, creating, creating_fast, replayed
from somagent.api.security import requires
from somagent.api.state import State
from somagent.domain.caller import Caller
from somagent.domain.capabilities import Capability, holds, require
from somagent.domain.times import Timestamp, rfc3339
from somagent.services.idempotency import Answer
from somagent.services.pagination import DEFAULT_LIMIT, LARGEST_LIMIT, Cursor, Page, PageRequest, fetch_page

__all__ = [
    "Answer",
    "Caller",
    "Capability",
    "IdempotencyKey",
    "Page",
    "PageDep",
    "PageRequest",
    "State",
    "StateDep",
    "TenantConnection",
    "Timestamp",
    "created",
    "creating",
    "creating_fast",
    "fetch_page",
    "holds",
    "json_response",
    "replayed",
    "request_id",
    "require",
    "requires",
    "rfc3339",
    "soma_router",
    "state_of",
    "traceparent",
]


def soma_router(service: str, route_class: type[StrictRoute] = StrictRoute) -> APIRouter:
    """A router of one service; its bodies are read strictly."""
    return APIRouter(tags=[service], route_class=route_class)


def state_of(request: Request) -> State:
    """The same without a dependency, for the hot path."""
    return cast("State", request.scope["state"]["soma"])


async def _state(request: Request) -> State:
    return state_of(request)


async def _page(
    limit: Annotated[int, Query(ge=1, le=LARGEST_LIMIT, description="Items a page")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=400, description="`next_cursor` of the page before")] = None,
) -> PageRequest:
    return PageRequest(limit=limit, after=None if cursor is None else Cursor.decode(cursor))


StateDep = Annotated[State, Depends(_state)]
PageDep = Annotated[PageRequest, Depends(_page)]


def json_response(view: BaseModel | bytes, status: int = 200) -> Response:
    """JSON as it goes out, from a model or ready bytes."""
    body = view if isinstance(view, bytes) else view.model_dump_json().encode()
    return Response(body, status, media_type="application/json")


def request_id(request: Request) -> str:
    """The request's id, ours or the one that came with it."""
    return cast("str", request.scope["soma.request_id"])


def traceparent(request: Request) -> str:
    """The W3C trace context to hand on."""
    return cast("str", request.scope["soma.traceparent"])

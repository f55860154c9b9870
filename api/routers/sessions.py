"""Conversations: each prompt passes the gate, and is answered by a model that knows what was said before."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID, uuid4

import orjson
from fastapi import Depends, Path, Query, Request
from starlette.background import BackgroundTask
from starlette.responses import Response

from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    PageDep,
    StateDep,
    TenantConnection,
    created,
    creating_fast,
    holds,
    json_response,
    replayed,
    request_id,
    require,
    requires,
    soma_router,
)
from somagent.api.following import telling
from somagent.api.gateway import admit, governed
from somagent.api.session_events import session_event_stream
from somagent.api.session_schemas import NewSessionBody, NewTurnBody, SessionList, SessionView, StartedSession, TurnView
from somagent.api.state import State
from somagent.api.turns import TURN_SECONDS, answered_turn
from somagent.domain.conversation import most_tokens
from somagent.domain.model import JsonObject
from somagent.domain.policy.evaluation import known_of
from somagent.services.admission import Approach
from somagent.services.jobs.requests import JobRequest
from somagent.services.pagination import Cursor
from somagent.services.sessions import reading, taking
from somagent.services.sessions.rows import NewSession, NewTurn

router = soma_router("orchestrator")

Speaker = Annotated[Caller, Depends(governed("session:start"))]
Reader = Annotated[Caller, Depends(requires("session:start"))]
Seq = Annotated[int, Path(ge=1, le=2**31 - 1)]


@router.post("/v1/sessions", status_code=201, response_model=StartedSession)
async def start_session(
    request: Request, state: StateDep, caller: Speaker, body: NewSessionBody, key: IdempotencyKey = None
) -> Response:
    """Start a conversation with its first prompt.

    In this order: global kill switch, token, the tenant's and capsule's kill switch, residency, moderation, policy.
    The headers `X-Policy-Decision`, `X-Policy-Score` and `X-Constitution-Hash` tell the verdict, of a refusal too.
    """
    if (again := await replayed(request, caller, key, body)) is not None:
        return again
    session_id = uuid4()
    approach = Approach(
        prompt=body.prompt,
        source="session",
        action="session.start",
        about=f"session:{session_id}",
        tokens=most_tokens(body.prompt),
        capsule_id=body.capsule_id,
        region=body.metadata.get("region"),
        known=known_of(body.metadata),
    )
    passage = await admit(request, caller, approach)
    new = NewSession(
        session_id=session_id,
        tenant_id=caller.tenant_id,
        user_id=caller.user_id,
        capsule_id=body.capsule_id,
        metadata=body.metadata,
        moderation=passage.moderation_view,
        policy=passage.policy_view,
    )

    async def make(connection: TenantConnection) -> Answer:
        order = await taking.take_session(connection, caller, new, body.prompt, request_id(request))
        return created(201, _started(new), location=f"/v1/sessions/{session_id}", after_commit=(telling(state, order),))

    return await creating_fast(request, caller, key, body, make)


@router.get("/v1/sessions", response_model=SessionList)
async def list_sessions(
    state: StateDep,
    caller: Reader,
    page: PageDep,
    status: Annotated[Literal["active", "ended", "killed"] | None, Query()] = None,
) -> Response:
    """Your sessions, newest first, without their turns; with `audit:read` the tenant's."""
    before = (page.after.created_at, page.after.uuid()) if page.after else None
    async with state.app_db.connection(caller.tenant_id) as connection:
        rows = await reading.list_sessions(
            connection, _ui_base(state), user_id=_whose(caller), status=status, before=before, limit=page.limit + 1
        )
    shown = rows[: page.limit]
    more = Cursor(shown[-1]["created_at"], str(shown[-1]["id"])).encode() if len(rows) > len(shown) else None
    items = ",".join(row["document"] for row in shown)
    return json_response(f'{{"items":[{items}],"next_cursor":{orjson.dumps(more).decode()}}}'.encode())


@router.get("/v1/sessions/{session_id}", response_model=SessionView)
async def read_session(session_id: UUID, state: StateDep, caller: Reader) -> Response:
    """One session with its turns: yours, or with `audit:read` anybody's of the tenant."""
    async with state.app_db.connection(caller.tenant_id) as connection:
        return json_response(await reading.read_session(connection, session_id, _whose(caller), _ui_base(state)))


@router.post("/v1/sessions/{session_id}/turns", response_model=TurnView, responses={202: {"model": TurnView}})
async def take_turn(
    request: Request,
    session_id: UUID,
    state: StateDep,
    caller: Speaker,
    body: NewTurnBody,
    key: IdempotencyKey = None,
    wait_seconds: Annotated[float, Query(ge=0, le=TURN_SECONDS, description="How long to wait for the answer")] = (
        TURN_SECONDS
    ),
) -> Response:
    """Say something. The prompt passes the gate again; turns of a session are answered one at a time, in order.

    200 with the answer, or 202 with `Location` where it takes longer than `wait_seconds`. With `job` (which needs
    `job:submit`) the turn starts that capsule too.
    """
    if body.job is not None:
        require(caller, "job:submit")
    if (again := await replayed(request, caller, key, body)) is None:
        about = await _about(state, caller, session_id)
        approach = Approach(
            prompt=body.prompt,
            source="turn",
            action="session.turn",
            about=f"session:{session_id}",
            tokens=most_tokens(body.prompt),
            capsule_id=about.capsule_id,
            region=about.region,
        )
        passage = await admit(request, caller, approach)
        turn = NewTurn(
            caller.user_id, body.prompt, passage.policy_view, attachments=tuple(dict.fromkeys(body.attachments))
        )
        taken: list[taking.TakenTurn] = []

        async def make(connection: TenantConnection) -> Answer:
            job = _job(body, session_id)
            done = await taking.take_turn(connection, caller, session_id, turn, job, request_id(request))
            taken.append(done)
            place = orjson.dumps({"seq": done.seq})
            return created(202, place, location=f"/v1/sessions/{session_id}/turns/{done.seq}")

        again = await creating_fast(request, caller, key, body, make)
        for one in taken:
            state.turn_teller.submit(one)
            state.wakeups.session_changed(str(session_id))
    seq = int(orjson.loads(again.body)["seq"])
    return await answered_turn(state, caller, session_id, seq, wait_seconds, again)


@router.get("/v1/sessions/{session_id}/turns/{seq}", response_model=TurnView)
async def read_turn(session_id: UUID, seq: Seq, state: StateDep, caller: Reader) -> Response:
    """One turn: its prompt and what came of it."""
    async with state.app_db.connection(caller.tenant_id) as connection:
        return json_response((await reading.read_turn(connection, session_id, seq, _whose(caller))).document)


@router.get(
    "/v1/sessions/{session_id}/stream",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def stream_session(request: Request, session_id: UUID, state: StateDep, caller: Reader) -> Response:
    """Server-sent events: `session.started`, `turn.started`, `turn.completed`, `turn.failed`, `session.ended`.

    Resumed by `Last-Event-ID`; the stream ends with the session.
    """
    return await session_event_stream(request, state, caller.tenant_id, session_id, _whose(caller))


@router.delete("/v1/sessions/{session_id}", status_code=204)
async def end_session(session_id: UUID, state: StateDep, caller: Reader) -> Response:
    """End your session. It stays readable; a turn without an answer is cancelled. Ending it again changes nothing."""
    async with state.app_db.connection(caller.tenant_id) as connection, connection.transaction():
        order = await taking.take_end(connection, caller, session_id)
    if order is None:
        return Response(status_code=204)
    state.wakeups.session_changed(str(session_id))
    return Response(status_code=204, background=BackgroundTask(telling(state, order)))


def _started(new: NewSession) -> bytes:
    return orjson.dumps(
        {
            "session_id": str(new.session_id),
            "workflow_id": new.workflow_id,
            "status": "active",
            "moderation": new.moderation,
            "policy": new.policy,
        }
    )


async def _about(state: State, caller: Caller, session_id: UUID) -> reading.SessionAbout:
    async with state.app_db.connection(caller.tenant_id) as connection:
        return await reading.about_session(connection, session_id, caller.user_id)


def _job(body: NewTurnBody, session_id: UUID) -> JobRequest | None:
    if body.job is None:
        return None
    wanted: JsonObject = body.job.model_dump(mode="json")
    return JobRequest.model_validate({**wanted, "session_id": session_id, "attachments": body.attachments})


def _whose(caller: Caller) -> str | None:
    """Whose sessions the caller sees: None for everybody's of the tenant."""
    return None if holds(caller, "audit:read") else caller.user_id


def _ui_base(state: State) -> str:
    return f"{state.settings.temporal_ui_url.rstrip('/')}/namespaces/{state.settings.temporal_namespace}"

"""Jobs: taken at once, read from Postgres, followed as events, controlled by people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID, uuid4

import orjson
from fastapi import Body, Depends, Query, Request
from pydantic import Discriminator, Tag
from starlette.responses import Response, StreamingResponse

from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    PageDep,
    StateDep,
    TenantConnection,
    created,
    creating_fast,
    json_response,
    request_id,
    requires,
    soma_router,
)
from somagent.api.faults import respond
from somagent.api.job_events import job_event_stream
from somagent.api.job_schemas import BudgetChange, Decision, JobList, JobView, TaskList, task_list
from somagent.api.state import State
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.jobs import JobStatus
from somagent.domain.policy.scoring import Verdict
from somagent.services.audit.intake import Happening, by, take_in
from somagent.services.jobs import control, deciding, reading
from somagent.services.jobs.artifacts import chunks_of, list_artifacts, media_type, open_artifact
from somagent.services.jobs.requests import JobRequest, TaskRequest, request_of
from somagent.services.jobs.submission import submit
from somagent.services.jobs.verdicts import ActRefused
from somagent.services.pagination import Cursor
from somagent.services.policy.decisions import Asked, record_decision
from somagent.services.policy.engine import governed_headers
from somagent.services.starter import Recorded

router = soma_router("jobs")

Reader = Annotated[Caller, Depends(requires("job:read"))]
Submitter = Annotated[Caller, Depends(requires("job:submit"))]
Controller = Annotated[Caller, Depends(requires("job:control"))]
Decider = Annotated[Caller, Depends(requires("approval:decide"))]


def _form(body: object) -> str:
    named = isinstance(body, TaskRequest) or (isinstance(body, dict) and "task" in body)
    return "~task" if named else "~short"


SubmittedJob = Annotated[
    Annotated[JobRequest, Tag("~short")] | Annotated[TaskRequest, Tag("~task")], Discriminator(_form)
]
"""Either form; its faults are those of the form that was meant."""


@router.post("/v1/jobs", status_code=202, response_model=JobView)
async def submit_job(
    request: Request,
    state: StateDep,
    caller: Submitter,
    body: Annotated[SubmittedJob, Body()],
    key: IdempotencyKey = None,
) -> Response:
    """Take a job: `{task, payload}`, or the short form of `capsule.run`. Answered at once, with Temporal or without."""
    wanted = request_of(body)
    state.gate.kills.require_off(caller.tenant_id, wanted.capsule_id)
    law = await state.gate.law(caller.tenant_id)
    verdict: Verdict | None = None

    async def make(connection: TenantConnection) -> Answer:
        nonlocal verdict
        taken = await submit(connection, caller.tenant_id, caller.user_id, wanted, law=law)
        verdict = taken.verdict
        document = orjson.dumps(taken.document)
        return created(202, document, location=f"/v1/jobs/{taken.job_id}", after_commit=_tell(state, taken.recorded))

    try:
        response = await creating_fast(request, caller, key, body, make, single_statement=True)
    except ActRefused as refused:
        await _record(request, state, caller, wanted, refused)
        response, verdict = respond(request, refused), refused.verdict
    if verdict is not None:
        response.headers.update(governed_headers(verdict.allowed, verdict.score, verdict.constitution_hash))
    return response


@router.get("/v1/jobs/tasks")
async def tasks(caller: Reader) -> TaskList:
    """The tasks there are, each with the JSON Schema of its payload."""
    return task_list()


@router.get("/v1/jobs", response_model=JobList)
async def list_jobs(
    state: StateDep,
    caller: Reader,
    page: PageDep,
    status: Annotated[list[JobStatus] | None, Query()] = None,
    capsule_id: Annotated[str | None, Query(max_length=128)] = None,
    parent_job_id: UUID | None = None,
) -> Response:
    """The tenant's jobs, newest first; without their steps."""
    before = (page.after.created_at, page.after.uuid()) if page.after else None
    async with state.app_db.connection(caller.tenant_id) as connection:
        rows = await reading.list_jobs(
            connection,
            _ui_base(state),
            statuses=[one.value for one in status] if status else None,
            capsule_id=capsule_id,
            parent_job_id=parent_job_id,
            before=before,
            limit=page.limit + 1,
        )
    shown = rows[: page.limit]
    more = Cursor(shown[-1]["created_at"], str(shown[-1]["id"])).encode() if len(rows) > len(shown) else None
    items = ",".join(row["document"] for row in shown)
    return json_response(f'{{"items":[{items}],"next_cursor":{orjson.dumps(more).decode()}}}'.encode())


@router.get("/v1/jobs/{job_id}", response_model=JobView)
async def read_job(job_id: UUID, state: StateDep, caller: Reader) -> Response:
    """One job with its steps and approvals, from Postgres."""
    async with state.app_db.connection(caller.tenant_id) as connection:
        return json_response(await state.finished_jobs.read(connection, job_id, _ui_base(state)))


@router.get("/v1/jobs/{job_id}/events", responses={200: {"content": {"text/event-stream": {}}}})
async def job_events(job_id: UUID, request: Request, state: StateDep, caller: Reader) -> Response:
    """The job's events as they happen (server-sent); `Last-Event-ID` goes on after that one."""
    return await job_event_stream(request, state, caller.tenant_id, job_id)


@router.post("/v1/jobs/{job_id}/cancel", status_code=202, response_model=JobView)
async def cancel_job(job_id: UUID, state: StateDep, caller: Controller) -> Response:
    """Stop the job; what it did is compensated where that is possible."""
    happening = by(caller, "job.cancel_requested", f"job:{job_id}")
    return await _controlled(state, happening, job_id, lambda connection: control.cancel(connection, job_id))


@router.post("/v1/jobs/{job_id}/pause", status_code=202, response_model=JobView)
async def pause_job(job_id: UUID, state: StateDep, caller: Controller) -> Response:
    """Let the running step finish, and begin no other until the job is resumed."""
    happening = by(caller, "job.paused", f"job:{job_id}")
    return await _controlled(state, happening, job_id, lambda connection: control.pause(connection, job_id))


@router.post("/v1/jobs/{job_id}/resume", status_code=202, response_model=JobView)
async def resume_job(job_id: UUID, state: StateDep, caller: Controller) -> Response:
    """Go on with a paused job."""
    happening = by(caller, "job.resumed", f"job:{job_id}")
    return await _controlled(state, happening, job_id, lambda connection: control.resume(connection, job_id))


@router.post("/v1/jobs/{job_id}/retry", status_code=202, response_model=JobView)
async def retry_job(job_id: UUID, state: StateDep, caller: Controller) -> Response:
    """Go on with a failed, cancelled or killed job at the step where it ended, once no kill switch stops it."""
    happening = by(caller, "job.retried", f"job:{job_id}")
    return await _controlled(state, happening, job_id, lambda connection: control.retry(connection, job_id))


@router.post("/v1/jobs/{job_id}/budget", response_model=JobView)
async def change_budget(job_id: UUID, body: BudgetChange, state: StateDep, caller: Controller) -> Response:
    """Give the job another budget; one that waits for it goes on."""
    happening = by(caller, "job.budget_changed", f"job:{job_id}", detail={"budget_tokens": body.budget_tokens})
    return await _controlled(
        state,
        happening,
        job_id,
        lambda connection: control.set_budget(connection, job_id, body.budget_tokens),
        status=200,
    )


@router.post("/v1/jobs/{job_id}/approvals/{approval_id}", response_model=JobView)
async def decide(
    job_id: UUID, approval_id: UUID, body: Decision, state: StateDep, caller: Decider, key: IdempotencyKey = None
) -> Response:
    """Vote on an approval. The digest says what you decide on; another one is refused."""
    await deciding.decide(
        state.app_db,
        state.temporal,
        state.gate,
        deciding.Vote(
            job_id=job_id,
            approval_id=approval_id,
            tenant_id=caller.tenant_id,
            user_id=caller.user_id,
            decision=body.decision,
            digest=body.digest,
            reason=body.reason,
            key=key,
        ),
    )
    return await read_job(job_id, state, caller)


@router.get("/v1/jobs/{job_id}/artifacts")
async def artifacts(job_id: UUID, state: StateDep, caller: Reader) -> dict[str, Any]:
    """The files that the job left in its folder."""
    await _must_exist(state, caller, job_id)
    found = list_artifacts(state.settings.workspaces / caller.tenant_id / str(job_id))
    items = [{"name": one.name, "bytes": one.bytes, "media_type": one.media_type} for one in found]
    return {"items": items, "next_cursor": None}


@router.get(
    "/v1/jobs/{job_id}/artifacts/{name:path}",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def artifact(job_id: UUID, name: str, state: StateDep, caller: Reader) -> Response:
    """One of those files."""
    await _must_exist(state, caller, job_id)
    descriptor, size = open_artifact(state.settings.workspaces / caller.tenant_id / str(job_id), name)
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(PurePosixPath(name).name)}",
        "Content-Security-Policy": "sandbox",
    }
    return StreamingResponse(chunks_of(descriptor), media_type=media_type(name), headers=headers)


async def _controlled(
    state: State,
    happening: Happening,
    job_id: UUID,
    act: Callable[[TenantConnection], Awaitable[Recorded | None]],
    *,
    status: int = 202,
) -> Response:
    """One act on a job in its transaction, audited; the answer is the job as it stands right after."""
    async with state.app_db.connection(happening.tenant_id) as connection:
        async with connection.transaction():
            recorded = await act(connection)
            await take_in(connection, happening)
        document = await state.finished_jobs.read(connection, job_id, _ui_base(state))
    if recorded is not None:
        state.starter.submit(recorded)
    response = json_response(document, status)
    response.headers["Location"] = f"/v1/jobs/{job_id}"
    return response


async def _record(request: Request, state: State, caller: Caller, wanted: JobRequest, refused: ActRefused) -> None:
    """Keep the verdict on a job that was not taken, with its audit."""
    about = f"capsule:{wanted.capsule_id}"
    asked = Asked(caller.tenant_id, caller.user_id, caller.user_id, "job", about, request_id(request))
    async with state.app_db.connection(caller.tenant_id) as connection:
        await record_decision(connection, asked, uuid4(), refused.evaluation, refused.verdict)


async def _must_exist(state: State, caller: Caller, job_id: UUID) -> None:
    async with state.app_db.connection(caller.tenant_id) as connection:
        if await connection.fetchval("SELECT 1 FROM jobs WHERE id = $1", job_id) is None:
            raise SomaError(Code.NOT_FOUND, "There is no such job.")


def _tell(state: State, recorded: Recorded | None) -> tuple[Callable[[], Awaitable[None]], ...]:
    if recorded is None:
        return ()

    async def tell() -> None:
        state.starter.submit(recorded)

    return (tell,)


def _ui_base(state: State) -> str:
    return f"{state.settings.temporal_ui_url.rstrip('/')}/namespaces/{state.settings.temporal_namespace}"

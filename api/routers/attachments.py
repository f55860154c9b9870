"""Attachments: files for jobs, sessions and runs."""

from __future__ import annotations

import asyncio
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import FileResponse, Response

from somagent.adapters.postgres.tables import Attachment
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
from somagent.api.multipart import receive_file
from somagent.domain.errors import Code, SomaError
from somagent.services.attachments import AttachmentView, Incoming, find, path_of, record, view_of

router = soma_router("jobs")

Reader = Annotated[Caller, Depends(requires("job:read"))]
Submitter = Annotated[Caller, Depends(requires("job:submit"))]

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}},
                }
            }
        },
    }
}


@router.post("/v1/attachments", status_code=201, response_model=AttachmentView, openapi_extra=_FORM)
async def upload(request: Request, state: StateDep, caller: Submitter, key: IdempotencyKey = None) -> Response:
    """Take one file of up to 50 MiB in the field `file`; its `id` goes into `attachments` of jobs, sessions, runs."""
    root = state.settings.attachments
    incoming = Incoming(root / caller.tenant_id)
    try:
        await receive_file(request, incoming)
        sha256 = await incoming.finish()
        mark = "\n".join((incoming.name, incoming.media_type, sha256)).encode()

        async def make(session: AsyncSession) -> Answer:
            view = await record(session, caller, root, incoming, sha256)
            return created(201, view, location=f"/v1/attachments/{view.id}")

        return await creating(request, caller, key, mark, make)
    finally:
        await incoming.discard()


@router.get("/v1/attachments")
async def attachments(state: StateDep, caller: Reader, page: PageDep) -> Page[AttachmentView]:
    """The tenant's attachments, newest first."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        return await fetch_page(
            session, select(Attachment), page, Attachment.created_at, Attachment.id, lambda row: view_of(row[0])
        )


@router.get("/v1/attachments/{attachment_id}")
async def attachment(attachment_id: UUID, state: StateDep, caller: Reader) -> AttachmentView:
    """One attachment's name, size and hash."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        return await find(session, attachment_id)


@router.get(
    "/v1/attachments/{attachment_id}/content",
    response_class=FileResponse,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The bytes, as they came"}},
)
async def content(attachment_id: UUID, state: StateDep, caller: Reader) -> Response:
    """The bytes, always as a download. `Range` is honoured."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        view = await find(session, attachment_id)
    path = path_of(state.settings.attachments, caller.tenant_id, view)
    if not await asyncio.to_thread(path.is_file):
        raise SomaError(Code.NOT_FOUND, "The attachment's bytes are gone from the disk. Upload the file again.")
    return FileResponse(
        path,
        media_type=view.media_type,
        filename=view.name,
        headers={"Content-Security-Policy": "sandbox; default-src 'none'", "ETag": f'"{view.sha256}"'},
    )

"""Creating POSTs: one transaction, one answer a key, and what follows once it is recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Final
from urllib.parse import quote

import orjson
import structlog
from fastapi import Header
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from somagent.adapters.postgres.database import TenantConnection, raw_connection
from somagent.api.state import State
from somagent.domain.caller import Caller
from somagent.services.idempotency import AfterCommit, Answer, checked_key, fingerprint, kept_answer, once

_log = structlog.get_logger("somagent.api")

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 visible ASCII characters. The same key and body within 24 h give the first answer again.",
    ),
]
"""The header of every creating POST."""

_JSON: Final = "application/json"
_ASCII: Final = "".join(map(chr, range(0x21, 0x7F)))
"""What an address keeps as it is; names of people may hold any letter, and headers may not."""


def created(
    status: int, view: BaseModel | bytes, *, location: str | None = None, after_commit: tuple[AfterCommit, ...] = ()
) -> Answer:
    """The answer of a ``make``: a model (or JSON bytes) with its status."""
    body = view if isinstance(view, bytes) else view.model_dump_json().encode()
    return Answer(status, body, location, after_commit=after_commit)


async def creating(
    request: Request,
    caller: Caller,
    key: str | None,
    body: BaseModel | bytes,
    make: Callable[[AsyncSession], Awaitable[Answer]],
) -> Response:
    """Create something in one unit of work of the caller's tenant; committed before the answer goes out.

    Args:
        body: what makes two requests the same (bytes: as they are).
        make: does the work in the session it is given, and commits nothing.
    """
    mark = _mark(request, key, body)
    async with _state(request).app_db.tenant(caller.tenant_id) as session:
        connection = await raw_connection(session)

        async def flushed() -> Answer:
            answer = await make(session)
            await session.flush()
            return answer

        answer = await once(connection, caller, key, mark, flushed)
    return answered(answer)


async def creating_fast(
    request: Request,
    caller: Caller,
    key: str | None,
    body: BaseModel | bytes,
    make: Callable[[TenantConnection], Awaitable[Answer]],
    *,
    single_statement: bool = False,
) -> Response:
    """The same on a plain asyncpg connection, for the hot path.

    Args:
        single_statement: ``make`` writes by one statement, so without a key it needs no transaction around it.
    """
    mark = _mark(request, key, body)
    if single_statement and not mark:
        async with _state(request).app_db.connection(caller.tenant_id) as connection:
            return answered(await make(connection))
    async with (
        _state(request).app_db.connection(caller.tenant_id) as connection,
        connection.transaction(),
    ):
        answer = await once(connection, caller, key, mark, lambda: make(connection))
    return answered(answer)


async def replayed(request: Request, caller: Caller, key: str | None, body: BaseModel | bytes) -> Response | None:
    """The first answer to the key again, where there is one; for endpoints that do much before they create.

    Raises:
        SomaError: ``validation_failed``, ``idempotency_key_reused``.
    """
    mark = _mark(request, key, body)
    if key is None:
        return None
    async with _state(request).app_db.connection(caller.tenant_id) as connection:
        kept = await kept_answer(connection, caller, key, mark)
    return None if kept is None else answered(kept)


def answered(answer: Answer) -> Response:
    """The HTTP form of an answer; ``after_commit`` runs when it has gone out."""
    headers: dict[str, str] = {}
    if answer.location is not None:
        headers["Location"] = quote(answer.location, safe=_ASCII)
    if answer.replayed:
        headers["Idempotent-Replayed"] = "true"
    background = BackgroundTask(_follow, answer.after_commit) if answer.after_commit else None
    return Response(answer.body, answer.status, headers, _JSON, background)


def _mark(request: Request, key: str | None, body: BaseModel | bytes) -> str:
    if checked_key(key) is None:
        return ""
    return fingerprint(request.method, request.url.path, canonical(body))


def canonical(body: BaseModel | bytes) -> bytes:
    """A body with its names in order, so that their order makes no difference."""
    if isinstance(body, bytes):
        return body
    return orjson.dumps(body.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)


async def _follow(steps: tuple[AfterCommit, ...]) -> None:
    """What fails here is recorded already, and made good by the relay: the request has succeeded."""
    for step in steps:
        try:
            await step()
        except Exception as error:
            _log.warning("after commit", error=repr(error))


def _state(request: Request) -> State:
    state: State = request.scope["state"]["soma"]
    return state

"""Memory: remember, recall, retrieve with citations, erase. Every path is there with and without ``/v1``."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    StateDep,
    TenantConnection,
    created,
    creating_fast,
    json_response,
    requires,
    soma_router,
)
from somagent.domain.actions.remote import (
    MemoryItem,
    Namespace,
    RecallOutput,
    RecallParams,
    RememberOutput,
    RememberParams,
    RetrieveOutput,
    RetrieveParams,
)
from somagent.domain.memory.filters import RecallFilters
from somagent.domain.model import Model
from somagent.services.audit.intake import by, take_in
from somagent.services.memory import Author

router = soma_router("memory-gateway")

Reader = Annotated[Caller, Depends(requires("memory:read"))]
Writer = Annotated[Caller, Depends(requires("memory:write"))]


class RecallBody(Model):
    """What to look for. A namespace absent means all of the tenant's."""

    query: Annotated[str, Field(max_length=20_000)]
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    namespace: Namespace | None = None
    filters: RecallFilters = Field(default_factory=RecallFilters)


@router.post("/remember", status_code=201, response_model=RememberOutput)
@router.post("/v1/remember", status_code=201, response_model=RememberOutput)
async def remember(
    request: Request, body: RememberParams, state: StateDep, caller: Writer, key: IdempotencyKey = None
) -> Response:
    """Keep a text or a value. The same namespace (`default` where none is given) and key again replaces it.

    Without `key`, the key is a digest of the content. Without `text`, the text is the value's canonical JSON.
    """
    state.gate.kills.require_off(caller.tenant_id)

    async def make(connection: TenantConnection) -> Answer:
        author = Author(source="api", user_id=caller.user_id)
        return created(201, await state.memory.remember(connection, caller.tenant_id, author, body))

    return await creating_fast(request, caller, key, body, make)


@router.post("/recall", response_model=RecallOutput)
@router.post("/v1/recall", response_model=RecallOutput)
async def recall(body: RecallBody, state: StateDep, caller: Reader) -> Response:
    """Items nearest by meaning and words, both orders fused, best first.

    The score (0 to 1) is the reciprocal rank fusion as a share of its greatest value: it orders what was found, and
    does not measure how near it is. 1 is first by meaning and by words; found by one alone gives at most 0.5.
    """
    params = RecallParams(
        query=body.query,
        limit=body.limit,
        namespace=body.namespace,
        filters=body.filters.model_dump(mode="json", exclude_defaults=True),
    )
    async with state.app_db.connection(caller.tenant_id) as connection:
        return json_response(await state.memory.recall(connection, caller.tenant_id, params))


@router.get("/recall/{key:path}", response_model=MemoryItem)
@router.get("/v1/recall/{key:path}", response_model=MemoryItem)
async def recall_by_key(
    key: Annotated[str, Path(min_length=1, max_length=400)],
    state: StateDep,
    caller: Reader,
    namespace: Annotated[Namespace | None, Query()] = None,
) -> Response:
    """The item with exactly this key; without a namespace, the one written last among all of the tenant's."""
    async with state.app_db.connection(caller.tenant_id) as connection:
        return json_response(await state.memory.by_key(connection, caller.tenant_id, key, namespace))


@router.delete("/memories/{memory_id}", status_code=204)
@router.delete("/v1/memories/{memory_id}", status_code=204)
async def erase(memory_id: UUID, state: StateDep, caller: Writer) -> Response:
    """Forget an item for good, with its vector and its words."""
    async with state.app_db.connection(caller.tenant_id) as connection, connection.transaction():
        await state.memory.erase(connection, caller.tenant_id, memory_id)
        await take_in(connection, by(caller, "memory.deleted", f"memory:{memory_id}"))
    return Response(status_code=204)


@router.post("/rag/retrieve", response_model=RetrieveOutput)
@router.post("/v1/rag/retrieve", response_model=RetrieveOutput)
async def retrieve(body: RetrieveParams, state: StateDep, caller: Reader) -> Response:
    """An answer quoted word for word from what is remembered, each sentence with its source: `... [1]`.

    Sources hold a good share of the question's words, weighted by rarity. Where none does, the answer says so.
    """
    async with state.app_db.connection(caller.tenant_id) as connection:
        return json_response(await state.memory.retrieve(connection, caller.tenant_id, body))

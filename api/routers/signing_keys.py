"""Signing keys: the public keys that a tenant's capsule signatures are checked with.

They belong to submitting: whoever may hand in a capsule may register the key that signs it, and revoke it.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from somagent.adapters.postgres.tables import SigningKey
from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    Page,
    PageDep,
    StateDep,
    Timestamp,
    created,
    creating,
    fetch_page,
    requires,
    soma_router,
)
from somagent.domain.model import Model
from somagent.services.capsules import signing_keys

router = soma_router("task-capsule-repo")

Submitter = Annotated[Caller, Depends(requires("capsule:submit"))]


class SigningKeyView(Model):
    """A registered key."""

    id: str = Field(description="The same as `key_id`")
    key_id: str
    public_key: str = Field(description="PEM")
    label: str
    created_by: str
    created_at: Timestamp
    revoked_at: Timestamp | None = Field(description="From then on it verifies nothing")


@router.post("/v1/signing-keys", status_code=201, response_model=SigningKeyView)
async def register(
    request: Request, body: signing_keys.NewSigningKey, caller: Submitter, key: IdempotencyKey = None
) -> Response:
    """Register an Ed25519 public key."""

    async def make(session: AsyncSession) -> Answer:
        row = await signing_keys.register(session, caller, body)
        return created(201, _view(row), location=f"/v1/signing-keys/{row.key_id}")

    return await creating(request, caller, key, body, make)


@router.get("/v1/signing-keys")
async def list_keys(
    state: StateDep, page: PageDep, caller: Annotated[Caller, Depends(requires("capsule:read"))]
) -> Page[SigningKeyView]:
    """The tenant's keys, newest first, revoked ones included."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        return await fetch_page(
            session,
            signing_keys.all_keys(),
            page,
            SigningKey.created_at,
            SigningKey.key_id,
            lambda row: _view(row[0]),
        )


@router.get("/v1/signing-keys/{key_id}")
async def read(
    key_id: str, state: StateDep, caller: Annotated[Caller, Depends(requires("capsule:read"))]
) -> SigningKeyView:
    """One key."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        return _view(await signing_keys.key_of(session, caller.tenant_id, key_id))


@router.delete("/v1/signing-keys/{key_id}", status_code=204)
async def revoke(key_id: str, state: StateDep, caller: Submitter) -> Response:
    """Revoke a key: what it signed can no longer be installed; what is installed stays."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        await signing_keys.revoke(session, caller, key_id)
    return Response(status_code=204)


def _view(row: SigningKey) -> SigningKeyView:
    fields = {name: getattr(row, name) for name in SigningKeyView.model_fields if name != "id"}
    return SigningKeyView(id=row.key_id, **fields)

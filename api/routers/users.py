"""Users of a tenant: an administrator's matter, except that everybody may read themself."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from somagent.adapters.postgres.tables import User
from somagent.api.deps import (
    Answer,
    Caller,
    Capability,
    IdempotencyKey,
    Page,
    PageDep,
    State,
    StateDep,
    Timestamp,
    created,
    creating,
    fetch_page,
    require,
    requires,
    soma_router,
)
from somagent.api.security import AUTHENTICATED
from somagent.domain.model import Model
from somagent.services.identity import users

router = soma_router("identity")

Admin = Annotated[Caller, Depends(requires("identity:admin"))]
Anyone = Annotated[Caller, Depends(AUTHENTICATED)]


class UserView(Model):
    """A user, without anything that opens a door."""

    id: str = Field(description="The same as `user_id`")
    user_id: str = Field(description="The `sub` of their tokens")
    tenant_id: str
    display_name: str
    email: str | None
    capabilities: list[str] = Field(description="What their tokens may hold at most")
    has_password: bool
    mfa_enabled: bool = Field(description="Whether logging in by password needs a code")
    oidc_issuer: str | None = Field(description="Who vouches for them, where they log in by OpenID Connect")
    disabled: bool
    disabled_at: Timestamp | None
    created_at: Timestamp
    updated_at: Timestamp


@router.post("/v1/users", status_code=201, response_model=UserView)
async def create(
    request: Request, body: users.NewUser, state: StateDep, caller: Admin, key: IdempotencyKey = None
) -> Response:
    """Make a user. They can be given only what you hold yourself."""
    password = None if body.password is None else await state.login.passwords.hash(body.password)

    async def make(session: AsyncSession) -> Answer:
        row = await users.create(session, caller, body, password)
        return created(201, view(row), location=f"/v1/users/{row.id}")

    return await creating(request, caller, key, _mark(state, body, key), make)


@router.get("/v1/users")
async def list_users(state: StateDep, page: PageDep, caller: Admin) -> Page[UserView]:
    """The tenant's users, newest first."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        return await fetch_page(session, users.all_users(), page, User.created_at, User.id, lambda row: view(row[0]))


@router.get("/v1/users/{user_id}")
async def read(user_id: str, state: StateDep, caller: Anyone) -> UserView:
    """One user. Needs `identity:admin`, except for oneself."""
    require_self_or_admin(caller, user_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        return view(await users.user_of(session, caller.tenant_id, user_id))


@router.patch("/v1/users/{user_id}")
async def change(user_id: str, body: users.UserChange, state: StateDep, caller: Admin) -> UserView:
    """Change a user; what is absent stays as it is. Whoever loses a capability loses every token issued so far."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        row = await users.change(session, caller, user_id, body)
    await state.gate.watch.refresh()
    return view(row)


@router.put("/v1/users/{user_id}")
async def put(user_id: str, body: users.UserChange, state: StateDep, caller: Admin) -> UserView:
    """The same as PATCH."""
    return await change(user_id, body, state, caller)


@router.delete("/v1/users/{user_id}", status_code=204)
async def delete(user_id: str, state: StateDep, caller: Admin) -> Response:
    """Remove a user with their API keys; their tokens are refused from now on. What they did stays on record."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        await users.delete(session, caller, user_id)
    await state.gate.watch.refresh()
    return Response(status_code=204)


def is_self(caller: Caller, user_id: str) -> bool:
    """Whether the caller is that user. A visitor of the tenant is nobody there, even under the same name."""
    return caller.user_id == user_id and not caller.visiting


def require_self_or_admin(caller: Caller, user_id: str) -> None:
    """Insist on the user themself, or an administrator.

    Raises:
        SomaError: ``capability_missing``.
    """
    if not is_self(caller, user_id):
        require(caller, Capability.IDENTITY_ADMIN)


def view(row: User) -> UserView:
    """A user as others may see them."""
    return UserView(
        id=row.id,
        user_id=row.id,
        tenant_id=row.tenant_id,
        display_name=row.display_name,
        email=row.email,
        capabilities=row.capabilities,
        has_password=row.password_hash is not None,
        mfa_enabled=row.mfa_confirmed_at is not None,
        oidc_issuer=row.oidc_issuer,
        disabled=row.disabled_at is not None,
        disabled_at=row.disabled_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _mark(state: State, body: users.NewUser, key: str | None) -> bytes:
    """What makes two requests the same: the body, with a keyed digest in the password's place."""
    if key is None or body.password is None:
        return body.model_dump_json().encode()
    digest = state.login.vault.digest(body.password.get_secret_value())
    return f"{body.model_dump_json()}\n{digest}".encode()

"""What users log in with: passwords, second factors and API keys. Secrets are shown once and never again.

Who sets another's password, second factor or keys can act as them afterwards, and so must hold what they hold.
"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import ApiKey, User
from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    Page,
    PageDep,
    State,
    StateDep,
    Timestamp,
    created,
    creating,
    fetch_page,
    json_response,
    requires,
    soma_router,
)
from somagent.api.routers.users import UserView, is_self, require_self_or_admin, view
from somagent.api.security import AUTHENTICATED
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.services.audit.intake import by, take_in
from somagent.services.identity import api_keys, attempts, second_factor, users
from somagent.services.identity.passwords import GivenPassword, NewPassword

router = soma_router("identity")

Admin = Annotated[Caller, Depends(requires("identity:admin"))]
Anyone = Annotated[Caller, Depends(AUTHENTICATED)]
_NO_STORE = {"Cache-Control": "no-store"}


class PasswordChange(Model):
    """A new password."""

    new_password: NewPassword
    old_password: GivenPassword | None = Field(default=None, description="Needed for one's own")


class EnrolmentView(Model):
    """What an authenticator app needs. It is shown this once."""

    secret: str = Field(description="Base32")
    otpauth_uri: str = Field(description="For a QR code")


class MfaConfirmation(Model):
    """A first code."""

    code: second_factor.MfaCode


class ApiKeyView(Model):
    """An API key, without the key."""

    id: UUID
    user_id: str
    label: str
    prefix: str = Field(description="How it begins")
    capabilities: list[str] | None = Field(description="null: whatever the user holds")
    created_by: str
    created_at: Timestamp
    expires_at: Timestamp | None
    revoked_at: Timestamp | None
    last_used_at: Timestamp | None


class NewApiKeyView(ApiKeyView):
    """A key just made."""

    api_key: str | None = Field(
        description="Shown this once; null when the answer is given again for the same Idempotency-Key"
    )


@router.post("/v1/users/{user_id}/password", status_code=204)
async def set_password(user_id: str, body: PasswordChange, state: StateDep, caller: Anyone) -> Response:
    """Set a password, one's own by giving the old one. Needs `identity:admin` for somebody else's.

    Every token issued so far is refused from now on, and a lock after wrong tries ends.
    """
    require_self_or_admin(caller, user_id)
    if is_self(caller, user_id):
        await _require_old_password(state, caller, body)
    password_hash = await state.login.passwords.hash(body.new_password)
    async with state.app_db.tenant(caller.tenant_id) as session:
        user = await _own_or_governed(session, caller, user_id)
        await users.set_password(session, caller, user, password_hash)
    await state.gate.watch.refresh()
    return Response(status_code=204)


@router.put("/v1/users/{user_id}/password", status_code=204)
async def put_password(user_id: str, body: PasswordChange, state: StateDep, caller: Anyone) -> Response:
    """The same as POST."""
    return await set_password(user_id, body, state, caller)


@router.post("/v1/users/{user_id}/mfa/enroll", responses={200: {"model": EnrolmentView}})
async def enrol(user_id: str, state: StateDep, caller: Anyone) -> Response:
    """Give a user a TOTP secret (RFC 6238), shown this once. It is asked for from its confirmation on.

    Needs `identity:admin`, except for oneself. Asking again before the confirmation gives another secret.
    """
    require_self_or_admin(caller, user_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        user = await _own_or_governed(session, caller, user_id)
        enrolment = second_factor.enrol(user, state.login.vault)
        await _record(session, caller, "mfa.enrolled", user_id)
    shown = EnrolmentView(secret=enrolment.secret, otpauth_uri=enrolment.otpauth_uri)
    return _once(shown, 200)


@router.post("/v1/users/{user_id}/mfa/verify")
async def confirm(user_id: str, body: MfaConfirmation, state: StateDep, caller: Anyone) -> UserView:
    """Confirm an enrolled secret by a first code of it. From now on the password alone gives no token.

    Needs `identity:admin`, except for oneself.
    """
    require_self_or_admin(caller, user_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        user = await _own_or_governed(session, caller, user_id)
        second_factor.confirm(user, state.login.vault, body.code)
        await _record(session, caller, "mfa.confirmed", user_id)
        return view(user)


@router.delete("/v1/users/{user_id}/mfa", status_code=204)
async def remove_mfa(user_id: str, state: StateDep, caller: Admin) -> Response:
    """Take a user's second factor away, as after the loss of a telephone."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        user = await _own_or_governed(session, caller, user_id)
        second_factor.remove(user)
        await _record(session, caller, "mfa.removed", user_id)
    return Response(status_code=204)


@router.post("/v1/users/{user_id}/api-keys", status_code=201, response_model=NewApiKeyView)
async def create_key(
    request: Request,
    user_id: str,
    state: StateDep,
    caller: Anyone,
    body: api_keys.NewApiKey | None = None,
    key: IdempotencyKey = None,
) -> Response:
    """Make an API key, shown this once. Needs `identity:admin`, except for oneself.

    The answer is kept for an Idempotency-Key without the key itself.
    """
    require_self_or_admin(caller, user_id)
    wanted = body or api_keys.NewApiKey()
    made: list[NewApiKeyView] = []

    async def make(session: AsyncSession) -> Answer:
        user = await _own_or_governed(session, caller, user_id)
        if is_self(caller, user_id) and user.mfa_confirmed_at is not None:
            await _take_code(session, state, user, wanted.mfa_code)
        row, secret = await api_keys.create(session, caller, user, wanted)
        kept = NewApiKeyView(**_key_view(row).model_dump(), api_key=None)
        made.append(kept.model_copy(update={"api_key": secret}))
        return created(201, kept, location=f"/v1/users/{user_id}/api-keys/{row.id}")

    kept = await creating(request, caller, key, wanted.model_copy(update={"mfa_code": None}), make)
    if not made:
        return kept
    shown = _once(made[0], 201)
    shown.headers["Location"] = kept.headers["Location"]
    return shown


@router.get("/v1/users/{user_id}/api-keys")
async def list_keys(user_id: str, state: StateDep, page: PageDep, caller: Anyone) -> Page[ApiKeyView]:
    """A user's API keys, newest first, revoked ones included. Needs `identity:admin`, except for oneself."""
    require_self_or_admin(caller, user_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        await users.user_of(session, caller.tenant_id, user_id)
        return await fetch_page(
            session, api_keys.keys_of(caller.tenant_id, user_id), page, ApiKey.created_at, ApiKey.id,
            lambda row: _key_view(row[0]),
        )  # fmt: skip


@router.delete("/v1/users/{user_id}/api-keys/{key_id}", status_code=204)
async def revoke_key(user_id: str, key_id: UUID, state: StateDep, caller: Anyone) -> Response:
    """Revoke an API key: no token is issued for it any more. Needs `identity:admin`, except for oneself."""
    require_self_or_admin(caller, user_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        await api_keys.revoke(session, caller, user_id, key_id)
    return Response(status_code=204)


async def _own_or_governed(session: AsyncSession, caller: Caller, user_id: str) -> User:
    user = await users.user_of(session, caller.tenant_id, user_id, lock=True)
    if not is_self(caller, user_id):
        users.require_authority(caller, user)
    return user


async def _require_old_password(state: State, caller: Caller, body: PasswordChange) -> None:
    """A token that somebody else has picked up must not be enough to take the account over."""
    async with state.app_db.connection(caller.tenant_id) as connection:
        await attempts.require_unlocked(connection, caller.tenant_id, caller.user_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        stored = (await users.user_of(session, caller.tenant_id, caller.user_id)).password_hash
    if body.old_password is not None and await state.login.passwords.matches(body.old_password, stored):
        return
    if body.old_password is not None:
        async with state.app_db.connection(caller.tenant_id) as connection:
            await attempts.count_wrong(connection, caller.tenant_id, caller.user_id)
    raise SomaError(
        Code.CREDENTIALS_INVALID,
        "Your own password is changed by giving the old one (old_password), which this is not. "
        "An administrator can set another.",
    )


async def _take_code(session: AsyncSession, state: State, user: User, code: str | None) -> None:
    """A key opens the door without a code, so making one needs a code."""
    if code is None:
        raise SomaError(Code.MFA_REQUIRED, "A key of your own needs a code of your second factor: send mfa_code.")
    if user.mfa_secret is None:
        raise second_factor.wrong_code()
    counter = second_factor.counter_of(state.login.vault, user.tenant_id, user.id, user.mfa_secret, code)
    await second_factor.take(await raw_connection(session), user.tenant_id, user.id, counter)


async def _record(session: AsyncSession, caller: Caller, action: str, user_id: str) -> None:
    await take_in(await raw_connection(session), by(caller, action, f"user:{user_id}", topic=users.TOPIC))


def _key_view(row: ApiKey) -> ApiKeyView:
    return ApiKeyView(**{name: getattr(row, name) for name in ApiKeyView.model_fields})


def _once(shown: Model, status: int) -> Response:
    """An answer that nothing on its way may keep."""
    answer = json_response(shown, status)
    answer.headers.update(_NO_STORE)
    return answer

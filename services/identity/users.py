"""Users of a tenant: what they are called, what they may, whether they may at all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AliasChoices, Field
from sqlalchemy import Select, any_, func, literal, or_, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import User
from somagent.domain.caller import Caller
from somagent.domain.capabilities import EVERYTHING, Capability, checked_capabilities, covers, require_owned
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.domain.names import USER_PATTERN
from somagent.services.audit.intake import by, take_in
from somagent.services.identity import attempts
from somagent.services.identity.cutoffs import cut_off
from somagent.services.identity.passwords import NewPassword

TOPIC: Final = "identity.audit"


def _capabilities(names: list[str]) -> list[str]:
    try:
        return list(checked_capabilities(names))
    except SomaError as error:
        raise ValueError(error.detail) from error


def _addressable(user_id: str) -> str:
    if "/" in user_id:
        raise ValueError("an id cannot hold a slash: it is part of the user's address")
    return user_id


Capabilities = Annotated[
    list[Annotated[str, Field(max_length=64)]], Field(max_length=64), AfterValidator(_capabilities)
]
Email = Annotated[str, Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")]
DisplayName = Annotated[str, Field(max_length=200)]


class NewUser(Model):
    """A user to be made."""

    user_id: Annotated[str, Field(pattern=USER_PATTERN), AfterValidator(_addressable)] = Field(
        validation_alias=AliasChoices("user_id", "id"), description="The `sub` of their tokens; `id` is taken too"
    )
    display_name: DisplayName = ""
    email: Email | None = None
    capabilities: Capabilities = Field(
        default_factory=list, description="What their tokens may hold at most; only what you hold yourself"
    )
    password: NewPassword | None = Field(
        default=None, description="Without one they cannot log in, except by API key or OpenID Connect"
    )


class UserChange(Model):
    """What shall be otherwise; what is absent stays as it is."""

    display_name: DisplayName | None = None
    email: Email | None = Field(default=None, description="null takes it away")
    capabilities: Capabilities | None = Field(
        default=None, description="All of them. Who loses one loses every token issued so far"
    )
    disabled: bool | None = Field(default=None, description="A disabled user's tokens are refused")


def all_users() -> Select[Any]:
    """The users of the session's tenant."""
    return select(User)


async def user_of(session: AsyncSession, tenant_id: str, user_id: str, *, lock: bool = False) -> User:
    """A tenant's user; with ``lock`` held until the unit of work ends.

    Raises:
        SomaError: ``not_found``.
    """
    user = await session.get(User, (tenant_id, user_id), with_for_update=lock or None)
    if user is None:
        raise SomaError(Code.NOT_FOUND, "There is no such user.")
    return user


async def create(session: AsyncSession, caller: Caller, new: NewUser, password_hash: str | None) -> User:
    """Make a user.

    Raises:
        SomaError: ``capability_not_owned``; ``user_exists``.
    """
    require_owned(caller.capabilities, new.capabilities, "you")
    user = User(
        tenant_id=caller.tenant_id,
        id=new.user_id,
        display_name=new.display_name,
        email=new.email,
        capabilities=new.capabilities,
        password_hash=password_hash,
        created_at=datetime.now(UTC),
        updated_at=datetime.now(UTC),
    )
    session.add(user)
    try:
        await session.flush()
    except IntegrityError as error:
        raise SomaError(Code.USER_EXISTS, "There is a user with this id already. Choose another.") from error
    detail = {"capabilities": user.capabilities, "can_log_in": user.password_hash is not None}
    await _record(session, caller, "user.created", user.id, detail)
    return user


async def change(session: AsyncSession, caller: Caller, user_id: str, wanted: UserChange) -> User:
    """Change a user.

    Raises:
        SomaError: ``not_found``; ``capability_not_owned`` for what the caller does not hold and would grant;
            ``last_administrator``.
    """
    await _hold_administrators(session, caller.tenant_id)
    user = await user_of(session, caller.tenant_id, user_id, lock=True)
    given = wanted.model_fields_set
    detail: dict[str, Any] = {}
    if wanted.capabilities is not None:
        added = [name for name in wanted.capabilities if name not in user.capabilities]
        lost = [name for name in user.capabilities if not covers(wanted.capabilities, name)]
        require_owned(caller.capabilities, added, "you")
        if not _administers(wanted.capabilities):
            await _require_another_administrator(session, user)
        user.capabilities = wanted.capabilities
        detail |= {"capabilities": wanted.capabilities, "lost": lost}
        if lost:
            await cut_off(await raw_connection(session), user.tenant_id, user.id)
    if wanted.disabled is not None and wanted.disabled != (user.disabled_at is not None):
        if wanted.disabled:
            await _require_another_administrator(session, user)
        else:  # whoever enables gives back what the user may
            require_owned(caller.capabilities, user.capabilities, "you")
        user.disabled_at = datetime.now(UTC) if wanted.disabled else None
        detail["disabled"] = wanted.disabled
    if wanted.display_name is not None and wanted.display_name != user.display_name:
        user.display_name = wanted.display_name
        detail["display_name"] = True
    if "email" in given and wanted.email != user.email:
        user.email = wanted.email
        detail["email"] = True
    if detail:
        user.updated_at = datetime.now(UTC)
        await _record(session, caller, "user.changed", user.id, detail)
    return user


async def delete(session: AsyncSession, caller: Caller, user_id: str) -> None:
    """Remove a user with their API keys, and refuse every token issued to them. What they did stays on record.

    Raises:
        SomaError: ``not_found``; ``last_administrator``.
    """
    await _hold_administrators(session, caller.tenant_id)
    user = await user_of(session, caller.tenant_id, user_id, lock=True)
    await _require_another_administrator(session, user)
    connection = await raw_connection(session)
    await cut_off(connection, user.tenant_id, user.id)
    await attempts.unlock(connection, user.tenant_id, user.id)
    await session.delete(user)
    await _record(session, caller, "user.deleted", user.id, {})


async def set_password(session: AsyncSession, caller: Caller, user: User, password_hash: str) -> None:
    """Set a password, end a lock and every token issued so far. Who may do it is the caller's matter."""
    user.password_hash = password_hash
    user.updated_at = datetime.now(UTC)
    connection = await raw_connection(session)
    await attempts.unlock(connection, user.tenant_id, user.id)
    await cut_off(connection, user.tenant_id, user.id)
    await _record(session, caller, "user.password_changed", user.id, {})


def require_authority(caller: Caller, user: User) -> None:
    """Insist that whoever can act as ``user`` afterwards does not gain by it: only who holds what the user may can set
    their password, their keys and their second factor.

    Raises:
        SomaError: ``capability_not_owned``.
    """
    require_owned(caller.capabilities, user.capabilities, "you, and this user holds it")


async def _hold_administrators(session: AsyncSession, tenant_id: str) -> None:
    """One change at a time to who administers a tenant: two administrators cannot remove one another."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"administrators:{tenant_id}"}
    )


async def _require_another_administrator(session: AsyncSession, user: User) -> None:
    if user.disabled_at is not None or not _administers(user.capabilities):
        return
    others = await session.scalar(
        select(func.count())
        .select_from(User)
        .where(
            User.tenant_id == user.tenant_id,
            User.id != user.id,
            User.disabled_at.is_(None),
            or_(*(literal(name) == any_(User.capabilities) for name in (EVERYTHING, Capability.IDENTITY_ADMIN.value))),
        )
    )
    if not others:
        raise SomaError(
            Code.LAST_ADMINISTRATOR,
            f"{user.id} is the last user who holds identity:admin: without them nobody could manage users any more. "
            "Give it to somebody else first.",
        )


def _administers(capabilities: Iterable[str]) -> bool:
    return covers(list(capabilities), Capability.IDENTITY_ADMIN)


async def _record(session: AsyncSession, caller: Caller, action: str, user_id: str, detail: dict[str, Any]) -> None:
    connection = await raw_connection(session)
    await take_in(connection, by(caller, action, f"user:{user_id}", topic=TOPIC, detail=detail))

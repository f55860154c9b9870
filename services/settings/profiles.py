"""A tenant's model profiles; one of them at most is the default."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import Field
from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import ModelProfile
from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.slm.profiles import ProfileModels
from somagent.services.audit.intake import by, take_in

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class NewProfile(ProfileModels):
    """A profile to be made. It does not become the default by being made."""

    name: Annotated[str, Field(pattern=NAME)]


def all_profiles(tenant_id: str) -> Select[ModelProfile]:
    """The tenant's profiles."""
    return select(ModelProfile).where(ModelProfile.tenant_id == tenant_id)


async def profile_of(session: AsyncSession, tenant_id: str, name: str, *, to_change: bool = False) -> ModelProfile:
    """One profile.

    Raises:
        SomaError: ``not_found``.
    """
    query = select(ModelProfile).where(ModelProfile.tenant_id == tenant_id, ModelProfile.name == name)
    possible = re.fullmatch(NAME, name) is not None
    row = await session.scalar(query.with_for_update() if to_change else query) if possible else None
    if row is None:
        raise SomaError(Code.NOT_FOUND, "There is no such model profile.")
    return row


async def create(session: AsyncSession, caller: Caller, new: NewProfile) -> ModelProfile:
    """Make a profile.

    Raises:
        SomaError: ``profile_exists``.
    """
    content = _content(new)
    values = {"tenant_id": caller.tenant_id, "name": new.name, "profile": content, "created_by": caller.user_id}
    made: ModelProfile | None = await session.scalar(
        insert(ModelProfile).values(values).on_conflict_do_nothing().returning(ModelProfile)
    )
    if made is None:
        raise SomaError(
            Code.PROFILE_EXISTS,
            f"There is a model profile {new.name!r} already; PUT changes it.",
        )
    await _audit(session, caller, "created", new.name, {"new": content})
    return made


async def replace(session: AsyncSession, caller: Caller, name: str, models: ProfileModels) -> ModelProfile:
    """Put other models into a profile.

    Raises:
        SomaError: ``not_found``.
    """
    row = await profile_of(session, caller.tenant_id, name, to_change=True)
    content = _content(models)
    if row.profile != content:
        await _audit(session, caller, "changed", name, {"old": row.profile, "new": content})
        row.profile = content
        row.updated_at = func.clock_timestamp()
        await session.flush()
        await session.refresh(row)
    return row


async def delete(session: AsyncSession, caller: Caller, name: str) -> None:
    """Delete a profile.

    Raises:
        SomaError: ``not_found``; ``profile_in_use`` for the default.
    """
    row = await profile_of(session, caller.tenant_id, name, to_change=True)
    if row.is_default:
        raise SomaError(
            Code.PROFILE_IN_USE,
            f"{name!r} is the default, which is in use. Make another one the default first.",
        )
    await _audit(session, caller, "deleted", name, {"old": row.profile})
    await session.delete(row)


async def make_default(session: AsyncSession, caller: Caller, name: str) -> ModelProfile:
    """Choose the profile that models are chosen by.

    Raises:
        SomaError: ``not_found``.
    """
    every = (await session.scalars(all_profiles(caller.tenant_id).order_by(ModelProfile.name).with_for_update())).all()
    chosen = next((row for row in every if row.name == name), None)
    if chosen is None:
        raise SomaError(Code.NOT_FOUND, "There is no such model profile.")
    if not chosen.is_default:
        before = next((row.name for row in every if row.is_default), None)
        mine = ModelProfile.tenant_id == caller.tenant_id
        await session.execute(update(ModelProfile).where(mine, ModelProfile.is_default).values(is_default=False))
        chosen.is_default = True
        await _audit(session, caller, "made_default", name, {"old": before, "new": name})
        await session.flush()
    return chosen


def _content(models: ProfileModels) -> JsonObject:
    content: JsonObject = models.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
    return content


async def _audit(session: AsyncSession, caller: Caller, done: str, name: str, detail: JsonObject) -> None:
    happening = by(caller, f"model_profile.{done}", f"model_profile:{name}", topic="settings.changed", detail=detail)
    await take_in(await raw_connection(session), happening)

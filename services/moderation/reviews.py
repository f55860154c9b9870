"""Ending a lock: the user's appeal, and a reviewer's decision."""

from __future__ import annotations

from typing import Annotated, Final

import asyncpg
from pydantic import Field

from somagent.domain.caller import Caller
from somagent.domain.capabilities import Capability, require
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.services.audit.intake import by, take_in
from somagent.services.moderation.strikes import Standing, one_at_a_time, standing
from somagent.services.moderation.telling import tell_reviewers

_UNLOCK: Final = """
UPDATE moderation_locks SET unlocked_at = clock_timestamp(), unlocked_by = $3, unlock_reason = $4
WHERE tenant_id = $1 AND user_id = $2 AND unlocked_at IS NULL RETURNING id
"""
_CLEAR: Final = """
UPDATE moderation_strikes SET cleared_at = clock_timestamp(), cleared_by = $3
WHERE tenant_id = $1 AND user_id = $2 AND cleared_at IS NULL
"""
_APPEAL: Final = """
UPDATE moderation_locks SET appeal = $3, appealed_at = clock_timestamp()
WHERE tenant_id = $1 AND user_id = $2 AND unlocked_at IS NULL RETURNING id
"""


class ReviewReason(Model):
    """Why a lock should end."""

    reason: Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S")]


def is_self(caller: Caller, user_id: str) -> bool:
    """Whether ``user_id`` of the tenant acted for is the caller; a visitor only bears the same name."""
    return caller.user_id == user_id and not caller.visiting


async def unlock(connection: asyncpg.Connection, caller: Caller, user_id: str, reason: str) -> Standing:
    """End a user's lock and clear the strikes that led to it, in the caller's transaction.

    Raises:
        SomaError: ``self_review_forbidden``, ``moderation_not_locked``.
    """
    if caller.user_id == user_id:
        raise SomaError(
            Code.SELF_REVIEW_FORBIDDEN, "Nobody unlocks themselves; another reviewer has to. You may appeal."
        )
    await one_at_a_time(connection, caller.tenant_id, user_id)
    if await connection.fetchval(_UNLOCK, caller.tenant_id, user_id, caller.user_id, reason) is None:
        raise _not_locked()
    await connection.execute(_CLEAR, caller.tenant_id, user_id, caller.user_id)
    happening = by(caller, "moderation.unlocked", f"user:{user_id}", topic="gateway.audit", detail={"reason": reason})
    await take_in(connection, happening)
    return await standing(connection, caller.tenant_id, user_id)


async def appeal(connection: asyncpg.Connection, caller: Caller, user_id: str, reason: str) -> Standing:
    """Ask for the end of a lock, in the caller's transaction: one's own, or as a reviewer anybody's.

    Raises:
        SomaError: ``capability_missing``, ``moderation_not_locked``.
    """
    if not is_self(caller, user_id):
        require(caller, Capability.MODERATION_REVIEW)
    lock_id = await connection.fetchval(_APPEAL, caller.tenant_id, user_id, reason)
    if lock_id is None:
        raise _not_locked()
    happening = by(caller, "moderation.appealed", f"user:{user_id}", topic="gateway.audit", detail={"reason": reason})
    await take_in(connection, happening)
    await tell_reviewers(
        connection,
        caller.tenant_id,
        user_id,
        f"Moderation: user {user_id} appeals against the lock: {reason}",
        severity="warning",
        effect_key=f"moderation-appeal:{lock_id}",
    )
    return await standing(connection, caller.tenant_id, user_id)


def _not_locked() -> SomaError:
    return SomaError(Code.MODERATION_NOT_LOCKED, "The user is not locked, so there is nothing to end.")

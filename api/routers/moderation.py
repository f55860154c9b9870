"""Strikes, locks, appeals.

The user of a path may hold any printable character, slashes included, percent-encoded or not.
"""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Query
from pydantic import Field
from sqlalchemy import Row, Select, and_, select

from somagent.adapters.postgres.tables import ModerationLock, ModerationStrike
from somagent.api.deps import Caller, Page, PageDep, StateDep, Timestamp, fetch_page, require, requires, soma_router
from somagent.api.security import AUTHENTICATED
from somagent.domain.model import Model
from somagent.services.moderation import reviews

router = soma_router("policy-engine")

Reviewer = Annotated[Caller, Depends(requires("moderation:review"))]
Anybody = Annotated[Caller, Depends(AUTHENTICATED)]


class StrikeView(Model):
    """A flagged prompt. The prompt itself is not kept."""

    id: UUID
    user_id: str
    severity: str = Field(description="low, medium, high or critical")
    categories: list[str]
    terms: list[str] = Field(description="What was recognised, in the lexicon's words")
    consequence: str = Field(description="warned, escalated or locked")
    source: str
    created_at: Timestamp
    cleared_at: Timestamp | None = Field(description="From then on it does not count")
    cleared_by: str | None
    user_locked: bool = Field(description="Whether the user's prompts are refused at this moment")
    appeal: str | None = Field(description="What the user says against that lock")


class StandingView(Model):
    """How a user stands."""

    user: str
    locked: bool
    strike_count: int = Field(description="Strikes of the last 24 hours that count")


@router.get("/v1/moderation/strikes")
async def strikes(
    state: StateDep,
    page: PageDep,
    caller: Anybody,
    user: Annotated[str | None, Query(max_length=255)] = None,
    locked: Annotated[bool | None, Query(description="Only of users who are, or are not, locked")] = None,
) -> Page[StrikeView]:
    """Strikes, newest first; with `moderation:review` everybody's, without it only one's own."""
    if user is None or not reviews.is_self(caller, user):
        require(caller, "moderation:review")
    open_lock = and_(
        ModerationLock.tenant_id == ModerationStrike.tenant_id,
        ModerationLock.user_id == ModerationStrike.user_id,
        ModerationLock.unlocked_at.is_(None),
    )
    both: Any = select(ModerationStrike, ModerationLock)
    statement: Select[Any] = both.outerjoin(ModerationLock, open_lock)
    if user is not None:
        statement = statement.where(ModerationStrike.user_id == user)
    if locked is not None:
        statement = statement.where(ModerationLock.id.is_not(None) if locked else ModerationLock.id.is_(None))
    async with state.app_db.tenant(caller.tenant_id) as session:
        return await fetch_page(session, statement, page, ModerationStrike.created_at, ModerationStrike.id, _view)


@router.post("/v1/moderation/strikes/{user:path}/unlock")
async def unlock(user: str, body: reviews.ReviewReason, state: StateDep, caller: Reviewer) -> StandingView:
    """End a user's lock and clear the strikes; never one's own."""
    async with state.app_db.connection(caller.tenant_id) as connection, connection.transaction():
        now = await reviews.unlock(connection, caller, user, body.reason)
    return StandingView(user=user, locked=now.locked, strike_count=now.strikes)


@router.post("/v1/moderation/strikes/{user:path}/appeal")
async def appeal(user: str, body: reviews.ReviewReason, state: StateDep, caller: Anybody) -> StandingView:
    """Ask reviewers to end a lock: one's own, or with `moderation:review` anybody's."""
    async with state.app_db.connection(caller.tenant_id) as connection, connection.transaction():
        now = await reviews.appeal(connection, caller, user, body.reason)
    return StandingView(user=user, locked=now.locked, strike_count=now.strikes)


def _view(row: Row[Any]) -> StrikeView:
    strike, lock = tuple[Any, ...](row)[:2]
    shown = {name: getattr(strike, name) for name in StrikeView.model_fields if hasattr(strike, name)}
    return StrikeView(**shown, user_locked=lock is not None, appeal=lock.appeal if lock else None)

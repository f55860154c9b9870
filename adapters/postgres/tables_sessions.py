"""Tables of conversations: sessions, their turns and their events."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from somagent.adapters.postgres.base import Base, EmptyObject, Json, Now, UuidKey, Zero


class Session(Base):
    __tablename__ = "sessions"
    __table_args__ = (
        Index(None, "tenant_id", "created_at", "id"),
        Index("ix_sessions_active", "tenant_id", postgresql_where=text("status = 'active'")),
    )

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    user_id: Mapped[str]
    capsule_id: Mapped[str | None]
    meta: Mapped[EmptyObject]
    status: Mapped[str] = mapped_column(server_default=text("'active'"))
    workflow_id: Mapped[str]
    moderation: Mapped[Json]
    policy: Mapped[Json]
    turns: Mapped[Zero]
    event_seq: Mapped[Zero]
    created_at: Mapped[Now]
    last_turn_at: Mapped[Now]
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]


class SessionTurn(Base):
    """One prompt and what came of it."""

    __tablename__ = "session_turns"
    __table_args__ = (Index(None, "job_id", postgresql_where=text("job_id IS NOT NULL")),)

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    user_id: Mapped[str]
    prompt: Mapped[str]
    status: Mapped[str]
    answer: Mapped[str | None]
    model: Mapped[str | None]
    usage: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    recalled: Mapped[list[Any] | None] = mapped_column(JSONB)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    request_id: Mapped[str | None]
    job_id: Mapped[UUID | None]
    policy: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[Now]
    finished_at: Mapped[datetime | None]


class SessionEvent(Base):
    __tablename__ = "session_events"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    type: Mapped[str]
    data: Mapped[Json]
    created_at: Mapped[Now]

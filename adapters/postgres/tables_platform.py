"""Tables of tenants, people, idempotency, outbox, budgets and notifications."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ARRAY, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from somagent.adapters.postgres.base import Base, EmptyObject, Json, No, Now, UuidKey, Zero


class Tenant(Base):
    __tablename__ = "tenants"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    daily_tokens: Mapped[int] = mapped_column(server_default=text("1000000"))
    review_quorum: Mapped[int] = mapped_column(server_default=text("1"))
    settings: Mapped[EmptyObject]
    created_at: Mapped[Now]


class User(Base):
    __tablename__ = "users"
    __table_args__ = (
        Index("uq_users_oidc", "tenant_id", "oidc_issuer", "oidc_subject", unique=True,
              postgresql_where=text("oidc_subject IS NOT NULL")),
    )  # fmt: skip

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(primary_key=True)
    display_name: Mapped[str] = mapped_column(server_default=text("''"))
    email: Mapped[str | None]
    capabilities: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    """What tokens issued against the user's own credentials may hold at most."""
    password_hash: Mapped[str | None]
    oidc_issuer: Mapped[str | None]
    oidc_subject: Mapped[str | None]
    mfa_secret: Mapped[str | None]
    """Encrypted with a key of the deployment; in force once ``mfa_confirmed_at`` is set."""
    mfa_confirmed_at: Mapped[datetime | None]
    mfa_last_counter: Mapped[int | None]
    """The time step of the last code that was taken: none is taken twice."""
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[Now]
    updated_at: Mapped[Now]


class IdempotencyKey(Base):
    """The first answer to a creating request, kept 24 hours."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index(None, "created_at"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_digest: Mapped[str]
    status: Mapped[int]
    location: Mapped[str | None]
    body: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[Now]


class Outbox(Base):
    """What must still be told to Temporal or to the event topics; a row is deleted once told."""

    __tablename__ = "outbox"
    __table_args__ = (Index(None, "available_at", "id"), Index(None, "kind", "key"))

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    tenant_id: Mapped[str]
    kind: Mapped[str]
    key: Mapped[str]
    payload: Mapped[Json]
    attempts: Mapped[Zero]
    last_error: Mapped[str | None]
    available_at: Mapped[Now]
    created_at: Mapped[Now]


class DailyBudget(Base):
    """Tokens of one tenant on one UTC day. ``spent + reserved`` never exceeds the tenant's limit."""

    __tablename__ = "daily_budgets"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    reserved_tokens: Mapped[Zero]
    spent_tokens: Mapped[Zero]


class Notification(Base):
    __tablename__ = "notifications"
    __table_args__ = (
        Index(None, "tenant_id", "created_at"),
        Index("uq_notifications_effect_key", "tenant_id", "effect_key", unique=True),
        Index("ix_notifications_pending", "next_attempt_at", postgresql_where=text("status = 'pending'")),
    )

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    effect_key: Mapped[str]
    user_id: Mapped[str | None]
    channel: Mapped[str]
    message: Mapped[str]
    severity: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    attempts: Mapped[Zero]
    error: Mapped[str | None]
    job_id: Mapped[UUID | None]
    step_id: Mapped[str | None]
    next_attempt_at: Mapped[Now]
    delivered_at: Mapped[datetime | None]
    created_at: Mapped[Now]


class MemoryNamespace(Base):
    __tablename__ = "memory_namespaces"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    namespace: Mapped[str] = mapped_column(primary_key=True)
    owner_kind: Mapped[str]
    owner_id: Mapped[str]
    shared: Mapped[No]
    created_at: Mapped[Now]

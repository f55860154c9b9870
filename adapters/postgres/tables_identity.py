"""Tables of API keys, refused tokens, wrong tries and training. People themselves are in ``tables_platform``."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ARRAY, ForeignKeyConstraint, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from somagent.adapters.postgres.base import Base, Now, UuidKey


class ApiKey(Base):
    """A key of a person or program. The key itself is shown once; what is kept is its SHA-256."""

    __tablename__ = "api_keys"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"),
        Index("uq_api_keys_key_hash", "key_hash", unique=True),
        Index(None, "tenant_id", "user_id", "created_at"),
    )

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    user_id: Mapped[str]
    label: Mapped[str]
    prefix: Mapped[str]
    key_hash: Mapped[str]
    capabilities: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    created_by: Mapped[str]
    created_at: Mapped[Now]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class RevokedToken(Base):
    """A token that is refused although its signature holds. The row is of no use after ``expires_at``."""

    __tablename__ = "revoked_tokens"
    __table_args__ = (Index(None, "expires_at"),)

    jti: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    user_id: Mapped[str]
    revoked_by: Mapped[str]
    expires_at: Mapped[datetime]
    created_at: Mapped[Now]


class TokenCutoff(Base):
    """Every token of this person issued up to this moment is refused. The row outlives the person."""

    __tablename__ = "token_cutoffs"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)
    cut_off_at: Mapped[datetime]


class LoginFailure(Base):
    """Wrong tries in a row under one name, whether or not there is such a person: both must look the same."""

    __tablename__ = "login_failures"
    __table_args__ = (Index(None, "failed_at"),)

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(primary_key=True)
    """SHA-256 of the name that was given: people type passwords there by mistake."""
    failures: Mapped[int]
    failed_at: Mapped[datetime]
    locked_until: Mapped[datetime | None]


class TrainingSession(Base):
    """While one is open, only who opened it changes what the tenant's agents are made of."""

    __tablename__ = "training_sessions"
    __table_args__ = (
        Index("uq_training_sessions_open", "tenant_id", unique=True, postgresql_where=text("stopped_at IS NULL")),
    )

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    reason: Mapped[str]
    started_by: Mapped[str]
    started_at: Mapped[Now]
    stopped_by: Mapped[str | None]
    stopped_at: Mapped[datetime | None]

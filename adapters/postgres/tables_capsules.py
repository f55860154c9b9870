"""Tables of submissions, reviews, signing keys, installations and recalls."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from somagent.adapters.postgres.base import Base, EmptyList, Json, JsonList, No, Now, UuidKey

_LIVE = text("status IN ('pending', 'approved', 'recalled')")


class Submission(Base):
    __tablename__ = "submissions"
    __table_args__ = (
        Index("uq_submissions_tenant_version", "tenant_id", "capsule_id", "version", unique=True,
              postgresql_where=_LIVE),
        Index("uq_submissions_global_version", "capsule_id", "version", unique=True,
              postgresql_where=text("tenant_scope = 'global' AND status IN ('pending', 'approved', 'recalled')")),
        Index(None, "tenant_id", "created_at", "id"),
        Index(None, "capsule_id", "status"),
    )  # fmt: skip

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    capsule_id: Mapped[str]
    version: Mapped[str]
    owner: Mapped[str]
    summary: Mapped[str]
    type: Mapped[str]
    definition: Mapped[Json]
    attestation_hash: Mapped[str]
    attestation_signature: Mapped[str | None]
    signer_key_id: Mapped[str | None]
    tenant_scope: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    submitter: Mapped[str]
    quorum: Mapped[int] = mapped_column(server_default=text("1"))
    revision: Mapped[int] = mapped_column(server_default=text("1"))
    findings: Mapped[EmptyList]
    findings_ready: Mapped[No]
    deadline: Mapped[datetime]
    workflow_id: Mapped[str]
    created_at: Mapped[Now]
    updated_at: Mapped[Now]
    decided_at: Mapped[datetime | None]


class ReviewVote(Base):
    __tablename__ = "review_votes"
    __table_args__ = (UniqueConstraint("submission_id", "revision", "reviewer"),)

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    submission_id: Mapped[UUID] = mapped_column(ForeignKey("submissions.id", ondelete="CASCADE"))
    revision: Mapped[int]
    reviewer: Mapped[str]
    decision: Mapped[str]
    notes: Mapped[str | None]
    is_override: Mapped[No]
    created_at: Mapped[Now]


class SigningKey(Base):
    __tablename__ = "signing_keys"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(primary_key=True)
    public_key: Mapped[str]
    label: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[Now]
    revoked_at: Mapped[datetime | None]


class Installation(Base):
    """One version of a capsule in one environment of a tenant, with the definition it was installed with."""

    __tablename__ = "installations"
    __table_args__ = (
        Index("uq_installations_active", "tenant_id", "capsule_id", "environment", unique=True,
              postgresql_where=text("status IN ('installed', 'quarantined')")),
        Index("uq_installations_under_way", "tenant_id", "capsule_id", "environment", unique=True,
              postgresql_where=text("status = 'installing'")),
        Index(None, "tenant_id", "created_at", "id"),
        Index(None, "capsule_id", "version", "status"),
    )  # fmt: skip

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    capsule_id: Mapped[str]
    version: Mapped[str]
    environment: Mapped[str]
    source: Mapped[str]
    submission_id: Mapped[UUID | None]
    attestation_hash: Mapped[str]
    definition: Mapped[Json]
    steps: Mapped[JsonList]
    status: Mapped[str]
    notes: Mapped[str | None]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    previous_id: Mapped[UUID | None]
    installed_by: Mapped[str]
    workflow_id: Mapped[str | None]
    created_at: Mapped[Now]
    finished_at: Mapped[datetime | None]


class Recall(Base):
    __tablename__ = "recalls"
    __table_args__ = (UniqueConstraint("tenant_id", "capsule_id", "version"),)

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    capsule_id: Mapped[str]
    version: Mapped[str]
    reason: Mapped[str]
    recalled_by: Mapped[str]
    created_at: Mapped[Now]


class CapsuleBudget(Base):
    """What one run of an installed capsule may spend, in tokens."""

    __tablename__ = "capsule_budgets"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    capsule_id: Mapped[str] = mapped_column(primary_key=True)
    environment: Mapped[str] = mapped_column(primary_key=True)
    installation_id: Mapped[UUID]
    budget_tokens: Mapped[int]
    created_at: Mapped[Now]

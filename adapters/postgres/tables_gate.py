"""Tables of what governs: constitutions, rules, decisions, moderation, kill switches and audit."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Double, ForeignKey, Index, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from somagent.adapters.postgres.base import Base, EmptyList, EmptyObject, Json, JsonList, Now, UuidKey, Zero


class ConstitutionRow(Base):
    """A constitution that is or was in force. The newest version of a tenant is in force; rows are never changed."""

    __tablename__ = "constitutions"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[Json]
    hash: Mapped[str]
    signature: Mapped[str]
    signer_key_id: Mapped[str]
    """A signing key of the tenant, or the id of a key of the deployment."""
    proposal_id: Mapped[UUID | None]
    activated_at: Mapped[Now]


class ConstitutionProposal(Base):
    __tablename__ = "constitution_proposals"
    __table_args__ = (Index(None, "tenant_id", "created_at", "id"),)

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    version: Mapped[int]
    content: Mapped[Json]
    hash: Mapped[str]
    signature: Mapped[str]
    signer_key_id: Mapped[str]
    rollback_of: Mapped[int | None]
    notes: Mapped[str | None]
    proposer: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    quorum: Mapped[int] = mapped_column(SmallInteger, server_default=text("2"))
    findings: Mapped[EmptyList]
    deadline: Mapped[datetime]
    workflow_id: Mapped[str]
    created_at: Mapped[Now]
    decided_at: Mapped[datetime | None]


class ConstitutionVote(Base):
    __tablename__ = "constitution_votes"

    proposal_id: Mapped[UUID] = mapped_column(
        ForeignKey("constitution_proposals.id", ondelete="CASCADE"), primary_key=True
    )
    voter: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    decision: Mapped[str]
    reason: Mapped[str | None]
    created_at: Mapped[Now]


class PolicyRule(Base):
    """A tenant's rule: what it matches, how much it weighs, whether it refuses by itself."""

    __tablename__ = "policy_rules"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    rule: Mapped[Json]
    created_by: Mapped[str]
    created_at: Mapped[Now]


class PolicyDecision(Base):
    """A verdict with the features it was made of. Those on steps that ran are in ``job_steps.verdict``."""

    __tablename__ = "policy_decisions"
    __table_args__ = (Index(None, "tenant_id", "created_at", "id"),)

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    user_id: Mapped[str]
    source: Mapped[str]
    """Where it was asked: evaluate, score, session, chat, job, step."""
    object: Mapped[str | None]
    """What it is about: a session, a job, a step (``job:step``)."""
    action: Mapped[str | None]
    allowed: Mapped[bool]
    score: Mapped[float] = mapped_column(Double)
    threshold: Mapped[float] = mapped_column(Double)
    severity: Mapped[str]
    constitution_hash: Mapped[str]
    policy: Mapped[JsonList]
    features: Mapped[JsonList]
    created_at: Mapped[Now]


class ModerationStrike(Base):
    """A flagged prompt of a user. Counts for 24 hours unless it was cleared. The prompt itself is not kept."""

    __tablename__ = "moderation_strikes"
    __table_args__ = (Index(None, "tenant_id", "user_id", "created_at"),)

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    user_id: Mapped[str]
    severity: Mapped[str]
    categories: Mapped[list[str]] = mapped_column(ARRAY(Text))
    terms: Mapped[list[str]] = mapped_column(ARRAY(Text))
    consequence: Mapped[str]
    """What followed: warned, escalated or locked."""
    source: Mapped[str]
    created_at: Mapped[Now]
    cleared_at: Mapped[datetime | None]
    cleared_by: Mapped[str | None]


class ModerationLock(Base):
    """A user whose prompts are refused until a reviewer unlocks; ``unlocked_at`` ends it."""

    __tablename__ = "moderation_locks"
    __table_args__ = (
        Index("uq_moderation_locks_open", "tenant_id", "user_id", unique=True,
              postgresql_where=text("unlocked_at IS NULL")),
    )  # fmt: skip

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    user_id: Mapped[str]
    strike_id: Mapped[UUID]
    locked_at: Mapped[Now]
    appeal: Mapped[str | None]
    appealed_at: Mapped[datetime | None]
    unlocked_at: Mapped[datetime | None]
    unlocked_by: Mapped[str | None]
    unlock_reason: Mapped[str | None]


class KillSwitch(Base):
    """A stop; ``lifted_at`` ends it. ``tenant_id`` is empty for the global one."""

    __tablename__ = "kill_switches"
    __table_args__ = (
        Index("uq_kill_switches_engaged", "scope", "tenant_id", "target", unique=True,
              postgresql_where=text("lifted_at IS NULL")),
    )  # fmt: skip

    id: Mapped[UuidKey]
    scope: Mapped[str]
    tenant_id: Mapped[str]
    target: Mapped[str]
    """The tenant, capsule or run; empty for the global one."""
    reason: Mapped[str]
    engaged_by: Mapped[str]
    engaged_at: Mapped[Now]
    lifted_by: Mapped[str | None]
    lifted_at: Mapped[datetime | None]


class AuditIntake(Base):
    """What happened, written in the transaction in which it happened; sealed into the tenant's chain soon after."""

    __tablename__ = "audit_intake"
    __table_args__ = (Index(None, "tenant_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    tenant_id: Mapped[str]
    topic: Mapped[str]
    actor: Mapped[str]
    action: Mapped[str]
    object: Mapped[str]
    outcome: Mapped[str]
    detail: Mapped[EmptyObject]
    request_id: Mapped[str | None]
    trace_id: Mapped[str | None]
    occurred_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class AuditEntry(Base):
    """A sealed entry. Nobody but ``soma_seal_audit`` writes here, and nobody changes or deletes."""

    __tablename__ = "audit_entries"
    __table_args__ = (Index(None, "tenant_id", "occurred_at"), Index(None, "tenant_id", "action", "seq"))

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    topic: Mapped[str]
    actor: Mapped[str]
    action: Mapped[str]
    object: Mapped[str]
    outcome: Mapped[str]
    detail: Mapped[Json]
    request_id: Mapped[str | None]
    trace_id: Mapped[str | None]
    occurred_at: Mapped[datetime]
    previous_hash: Mapped[str]
    hash: Mapped[str]


class AuditHead(Base):
    """Where a tenant's chain ends, signed by the deployment."""

    __tablename__ = "audit_heads"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    seq: Mapped[int]
    hash: Mapped[str]
    signature: Mapped[str]
    kid: Mapped[str]
    signed_at: Mapped[datetime]


class GateChange(Base):
    """A counter a kind of governing rows, raised by triggers; processes look at it to know what to read again."""

    __tablename__ = "gate_changes"

    kind: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[Zero]


class ModelProfile(Base):
    """Which models answer which roles for a tenant. One profile at most is the default."""

    __tablename__ = "model_profiles"
    __table_args__ = (
        Index("uq_model_profiles_default", "tenant_id", unique=True, postgresql_where=text("is_default")),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    profile: Mapped[Json]
    is_default: Mapped[bool] = mapped_column(server_default=text("false"))
    created_by: Mapped[str]
    created_at: Mapped[Now]
    updated_at: Mapped[Now]


class NotificationPreference(Base):
    __tablename__ = "notification_preferences"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)
    preferences: Mapped[dict[str, Any]] = mapped_column(JSONB)
    updated_at: Mapped[Now]

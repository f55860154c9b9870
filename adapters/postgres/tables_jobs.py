"""Tables of jobs, their steps, events and approvals, attachments, model requests and memories."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import Vector
from sqlalchemy import ARRAY, Computed, ForeignKey, Index, Integer, Numeric, SmallInteger, Text
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from somagent.adapters.postgres.base import Base, EmptyList, EmptyObject, Json, No, Now, UuidKey, Zero

EMBEDDING_DIMENSION = 384


class Job(Base):
    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "tenant_id", "created_at", "id"),
        Index(None, "tenant_id", "status", "created_at", "id"),
        Index(None, "tenant_id", "capsule_id", "created_at", "id"),
        Index(None, "parent_job_id", postgresql_where=sql("parent_job_id IS NOT NULL")),
        Index(None, "kill_switch_id", postgresql_where=sql("kill_switch_id IS NOT NULL")),
        Index("ix_jobs_unfinished", "created_at",
              postgresql_where=sql("status IN ('queued', 'running', 'waiting', 'paused')")),
    )  # fmt: skip

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    task: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=sql("'queued'"))
    capsule_id: Mapped[str | None]
    capsule_version: Mapped[str | None]
    environment: Mapped[str]
    installation_id: Mapped[UUID | None]
    inputs: Mapped[EmptyObject]
    attachments: Mapped[EmptyList]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=sql("3"))
    session_id: Mapped[UUID | None]
    submitted_by: Mapped[str]
    parent_job_id: Mapped[UUID | None]
    parent_step_id: Mapped[str | None]
    depth: Mapped[int] = mapped_column(SmallInteger, server_default=sql("0"))
    budget_tokens: Mapped[int]
    reserved_tokens: Mapped[Zero]
    spent_tokens: Mapped[Zero]
    cost: Mapped[Decimal] = mapped_column(Numeric(18, 6), server_default=sql("0"))
    steps_total: Mapped[int] = mapped_column(Integer)
    steps_done: Mapped[int] = mapped_column(Integer, server_default=sql("0"))
    current: Mapped[str | None]
    outputs: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    event_seq: Mapped[Zero]
    epoch: Mapped[Zero]
    pause_requested: Mapped[No]
    cancel_requested: Mapped[No]
    kill_switch_id: Mapped[UUID | None]
    """The kill switch that stopped it: it ends as killed instead of cancelled."""
    deadline: Mapped[datetime | None]
    workflow_id: Mapped[str]
    run_id: Mapped[str | None]
    created_at: Mapped[Now]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobStep(Base):
    """A step that has begun; its row, once settled, is the checkpoint an interrupted job goes on from."""

    __tablename__ = "job_steps"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    step_id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    action: Mapped[str]
    status: Mapped[str]
    attempt: Mapped[int] = mapped_column(Integer, server_default=sql("1"))
    attempt_base: Mapped[int] = mapped_column(Integer, server_default=sql("0"))
    output: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    verdict: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    compensated_at: Mapped[datetime | None]


class JobEvent(Base):
    __tablename__ = "job_events"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    type: Mapped[str]
    data: Mapped[Json]
    created_at: Mapped[Now]


class Approval(Base):
    __tablename__ = "approvals"
    __table_args__ = (Index(None, "job_id"), Index("ix_approvals_pending", "tenant_id", "created_at",
                      postgresql_where=sql("status = 'pending'")))  # fmt: skip

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    step_id: Mapped[str]
    question: Mapped[str]
    digest: Mapped[str]
    what: Mapped[Json]
    quorum: Mapped[int] = mapped_column(SmallInteger, server_default=sql("1"))
    status: Mapped[str] = mapped_column(server_default=sql("'pending'"))
    created_at: Mapped[Now]
    decided_at: Mapped[datetime | None]


class ApprovalVote(Base):
    __tablename__ = "approval_votes"

    approval_id: Mapped[UUID] = mapped_column(ForeignKey("approvals.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    decision: Mapped[str]
    reason: Mapped[str | None]
    created_at: Mapped[Now]


class Attachment(Base):
    __tablename__ = "attachments"
    __table_args__ = (Index(None, "tenant_id", "created_at", "id"),)

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    name: Mapped[str]
    media_type: Mapped[str]
    bytes: Mapped[int]
    sha256: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[Now]


class SlmRequestRow(Base):
    """A request to a model and its answer; a repeat of the request is answered from here."""

    __tablename__ = "slm_requests"
    __table_args__ = (
        Index("ix_slm_requests_unanswered", "created_at", postgresql_where=sql("status IN ('queued', 'running')")),
        Index(None, "job_id"),
    )

    request_id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    job_id: Mapped[UUID | None]
    step_id: Mapped[str | None]
    role: Mapped[str]
    request: Mapped[Json]
    status: Mapped[str] = mapped_column(server_default=sql("'queued'"))
    response: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    reserved_tokens: Mapped[Zero]
    published_at: Mapped[Now]
    created_at: Mapped[Now]
    finished_at: Mapped[datetime | None]


class Memory(Base):
    __tablename__ = "memories"
    __table_args__ = (
        Index("uq_memories_key", "tenant_id", "namespace", "key", unique=True),
        Index("ix_memories_search", "search", postgresql_using="gin"),
        Index("ix_memories_embedding", "embedding", postgresql_using="hnsw",
              postgresql_ops={"embedding": "vector_cosine_ops"}),
        Index(None, "tenant_id", "created_at"),
        Index("ix_memories_job_id", "job_id", postgresql_where=sql("job_id IS NOT NULL")),
    )  # fmt: skip

    id: Mapped[UuidKey]
    tenant_id: Mapped[str]
    namespace: Mapped[str]
    key: Mapped[str]
    text: Mapped[str]
    value: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=sql("'{}'"))
    meta: Mapped[EmptyObject]
    embedding: Mapped[Any] = mapped_column(Vector(EMBEDDING_DIMENSION))
    embedding_model: Mapped[str]
    search: Mapped[Any] = mapped_column(TSVECTOR, Computed("to_tsvector('english', text)", persisted=True))
    source: Mapped[str]
    job_id: Mapped[UUID | None]
    step_id: Mapped[str | None]
    created_by: Mapped[str | None]
    created_at: Mapped[Now]
    updated_at: Mapped[Now]

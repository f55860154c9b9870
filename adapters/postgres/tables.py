"""Every table, for the migrations and for whoever needs the whole schema."""

from somagent.adapters.postgres.base import Base
from somagent.adapters.postgres.tables_capsules import (
    CapsuleBudget,
    Installation,
    Recall,
    ReviewVote,
    SigningKey,
    Submission,
)
from somagent.adapters.postgres.tables_jobs import (
    EMBEDDING_DIMENSION,
    Approval,
    ApprovalVote,
    Attachment,
    Job,
    JobEvent,
    JobStep,
    Memory,
    SlmRequestRow,
)
from somagent.adapters.postgres.tables_platform import (
    DailyBudget,
    IdempotencyKey,
    MemoryNamespace,
    Notification,
    Outbox,
    Tenant,
    User,
)

__all__ = [
    "EMBEDDING_DIMENSION",
    "Approval",
    "ApprovalVote",
    "Attachment",
    "Base",
    "CapsuleBudget",
    "DailyBudget",
    "IdempotencyKey",
    "Installation",
    "Job",
    "JobEvent",
    "JobStep",
    "Memory",
    "MemoryNamespace",
    "Notification",
    "Outbox",
    "Recall",
    "ReviewVote",
    "SigningKey",
    "SlmRequestRow",
    "Submission",
    "Tenant",
    "User",
]

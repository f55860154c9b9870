"""Reading notifications: what a person may see is what goes to everyone of the tenant, and what goes to them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, Select, or_, select

from somagent.adapters.postgres.tables import Notification
from somagent.domain.model import Model
from somagent.domain.times import Timestamp

OVERLAP: Final = timedelta(seconds=10)
"""How long after its moment a notification may still become visible: its transaction commits later."""

_FOLLOWING: Final = """
SELECT id, channel, message, severity, status, attempts, error, user_id, job_id, step_id, created_at, delivered_at
FROM notifications
WHERE tenant_id = $1 AND (user_id IS NULL OR user_id = $2) AND (created_at, id) > ($3, $4) AND id <> ALL($5::uuid[])
ORDER BY created_at, id LIMIT $6
"""
_PLACE: Final = """
SELECT created_at FROM notifications WHERE tenant_id = $1 AND (user_id IS NULL OR user_id = $2) AND id = $3
"""


class NotificationStatus(StrEnum):
    """Where a notification stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    """Not sent: below the threshold, or to a channel that its reader does not want."""


class NotificationView(Model):
    """A notification. ``user_id`` null: for everyone of the tenant. ``error``: why the last delivery failed."""

    id: UUID
    channel: str
    message: str
    severity: str
    status: NotificationStatus
    attempts: int
    error: str | None
    user_id: str | None
    job_id: UUID | None
    step_id: str | None
    created_at: Timestamp
    delivered_at: Timestamp | None


def view(row: Notification) -> NotificationView:
    """A row as people see it."""
    return NotificationView(**{name: getattr(row, name) for name in NotificationView.model_fields})


def visible(
    user_id: str,
    *,
    statuses: Sequence[NotificationStatus] = (),
    severity: str | None = None,
    channel: str | None = None,
) -> Select[Any]:
    """The notifications that ``user_id`` may see, narrowed down."""
    where: list[ColumnElement[bool]] = [or_(Notification.user_id.is_(None), Notification.user_id == user_id)]
    if statuses:
        where.append(Notification.status.in_([status.value for status in statuses]))
    if severity is not None:
        where.append(Notification.severity == severity)
    if channel is not None:
        where.append(Notification.channel == channel)
    return select(Notification).where(*where)


async def place_of(
    connection: asyncpg.Connection, tenant_id: str, user_id: str, notification_id: UUID
) -> datetime | None:
    """When a notification was made, where the person may see it."""
    moment: datetime | None = await connection.fetchval(_PLACE, tenant_id, user_id, notification_id)
    return moment


async def following(
    connection: asyncpg.Connection,
    tenant_id: str,
    user_id: str,
    after: tuple[datetime, UUID],
    but: Sequence[UUID],
    limit: int = 100,
) -> list[NotificationView]:
    """The notifications after a place, oldest first, without those of ``but``."""
    rows = await connection.fetch(_FOLLOWING, tenant_id, user_id, *after, list(but), limit)
    return [NotificationView(**dict(row)) for row in rows]

"""What changes tell the world, in the same transaction: an event for the topics, a notification for people."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.tables import Notification, Outbox
from somagent.domain.model import JsonObject

TOPIC: Final = "project.events"
CHANNEL: Final = "web"


async def tell_topic(session: AsyncSession, tenant_id: str, kind: str, key: str, data: JsonObject) -> None:
    """Put an event of type ``kind`` into the outbox."""
    payload = {"topic": TOPIC, "type": kind, **data}
    await session.execute(insert(Outbox).values(tenant_id=tenant_id, kind="event", key=key, payload=payload))


async def notify(
    session: AsyncSession,
    tenant_id: str,
    effect_key: str,
    message: str,
    *,
    severity: str = "info",
    user_id: str | None = None,
) -> None:
    """Leave a message for a user, or for all of the tenant; the same ``effect_key`` never twice."""
    row = {
        "id": uuid4(),
        "tenant_id": tenant_id,
        "effect_key": effect_key,
        "user_id": user_id,
        "channel": CHANNEL,
        "message": message,
        "severity": severity,
    }
    await session.execute(insert(Notification).values(row).on_conflict_do_nothing())

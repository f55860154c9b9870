"""What changes leave behind, in the same transaction: an event, a notification for people, an entry of the audit."""

from __future__ import annotations

from typing import Final
from uuid import uuid4

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import Notification, Outbox
from somagent.domain.model import JsonObject
from somagent.services.audit.intake import Happening, take_in

TOPIC: Final = "project.events"
CHANNEL: Final = "web"


async def tell_topic(session: AsyncSession, tenant_id: str, kind: str, key: str, data: JsonObject) -> None:
    """Put an event of type ``kind`` into the outbox."""
    payload = {"topic": TOPIC, "type": kind, **data}
    await session.execute(insert(Outbox).values(tenant_id=tenant_id, kind="event", key=key, payload=payload))


async def account_for(
    session: AsyncSession,
    tenant_id: str,
    actor: str,
    kind: str,
    object_: str,
    data: JsonObject,
    *,
    key: str | None = None,
    outcome: str = "done",
) -> None:
    """Tell the topic, and take it into the tenant's audit.

    Args:
        actor: the user who did it, or ``somagent``.
        object_: what it was done to: ``submission:…``.
        key: the event's; what stands after the colon in ``object_`` when absent.
    """
    await tell_topic(session, tenant_id, kind, key or object_.partition(":")[2], data)
    happening = Happening(tenant_id=tenant_id, actor=actor, action=kind, object=object_, outcome=outcome, detail=data)
    await take_in(await raw_connection(session), happening)


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

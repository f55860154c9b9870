"""Emptying the outbox. A row is deleted in the transaction that held it while it was told."""

from __future__ import annotations

import orjson
import structlog
from pydantic import TypeAdapter
from temporalio.client import Client

from somagent.adapters.postgres.database import Database
from somagent.adapters.queue.port import Queue
from somagent.domain.messages.orders import Order, SignalOrder, WorkflowOrder
from somagent.domain.times import rfc3339
from somagent.services.starter import tell

log = structlog.get_logger(__name__)

_ORDER: TypeAdapter[WorkflowOrder | SignalOrder] = TypeAdapter(Order)

_TAKE = """
SELECT id, tenant_id, kind, key, payload::text AS payload, attempts, created_at FROM outbox
WHERE available_at <= now() AND (kind = 'event') = $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED
"""
_LATER = """
UPDATE outbox SET attempts = attempts + 1, last_error = $2,
  available_at = now() + least(interval '1 second' * power(2, least(attempts, 6)), interval '60 seconds')
WHERE id = $1
"""


class Outbox:
    """Orders for Temporal and events for the topics."""

    def __init__(self, database: Database, client: Client, queue: Queue) -> None:
        self._database = database
        self._client = client
        self._queue = queue

    async def tell_orders(self) -> int:
        """Tell Temporal what is due; how many were told."""
        told = 0
        async with self._database.pool.acquire() as connection, connection.transaction():
            for row in await connection.fetch(_TAKE, False, 20):
                try:
                    await tell(self._client, _ORDER.validate_json(row["payload"]))
                except Exception as error:  # whatever it was, the order stays
                    log.warning("order_not_told", key=row["key"], kind=row["kind"], error=repr(error))
                    await connection.execute(_LATER, row["id"], repr(error)[:500])
                else:
                    await connection.execute("DELETE FROM outbox WHERE id = $1", row["id"])
                    told += 1
        return told

    async def publish_events(self) -> int:
        """Publish events in the order they were recorded; how many went out."""
        async with self._database.pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_TAKE, True, 200)
            for row in rows:
                payload = orjson.loads(row["payload"])
                envelope = {
                    "event_id": f"{row['id']:020d}",
                    "topic": payload.pop("topic", "project.events"),
                    "tenant_id": row["tenant_id"],
                    "occurred_at": rfc3339(row["created_at"]),
                    "trace_id": payload.pop("trace_id", None),
                    "payload": payload,
                }
                await self._queue.publish(str(envelope["topic"]), row["key"], orjson.dumps(envelope))
            await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", [row["id"] for row in rows])
        return len(rows)

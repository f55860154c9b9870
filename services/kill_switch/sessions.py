"""Ending the conversations that engaged switches match."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import asyncpg

from somagent.domain.messages.orders import SignalOrder
from somagent.services.kill_switch.stopping import record_all
from somagent.services.starter import FIRST_LOOK, Recorded

_STOP: Final = """
WITH matched AS (
  SELECT DISTINCT ON (s.id) s.id, k.reason FROM sessions s JOIN kill_switches k ON k.lifted_at IS NULL AND (
    k.scope = 'global' OR k.tenant_id = s.tenant_id AND (
      k.scope = 'tenant' OR k.scope = 'capsule' AND k.target = s.capsule_id
      OR k.scope = 'run' AND k.target = s.id::text))
  WHERE s.status = 'active' ORDER BY s.id, k.engaged_at
), held AS (
  SELECT s.id, m.reason FROM sessions s JOIN matched m ON m.id = s.id WHERE s.status = 'active'
  ORDER BY s.id FOR UPDATE OF s SKIP LOCKED
)
UPDATE sessions s SET status = 'killed', ended_at = clock_timestamp(),
  end_reason = 'The kill switch stopped the session: ' || held.reason
FROM held WHERE s.id = held.id RETURNING s.tenant_id, s.workflow_id
"""


async def stop_sessions(connection: asyncpg.Connection, *, delay: timedelta = FIRST_LOOK) -> list[Recorded]:
    """End every session that a visible switch matches, and order its workflow to be cancelled."""
    rows = await connection.fetch(_STOP)
    orders = [
        SignalOrder(kind="workflow.cancel", tenant_id=row["tenant_id"], workflow_id=row["workflow_id"]) for row in rows
    ]
    return await record_all(connection, orders, delay=delay)

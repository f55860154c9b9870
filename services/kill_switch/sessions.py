"""Ending the conversations that engaged switches match."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby
from typing import Final

import asyncpg

from somagent.domain.messages.orders import SignalOrder
from somagent.domain.messages.session import SessionStatus
from somagent.services.kill_switch.stopping import Look, record_all
from somagent.services.sessions.ending import end_sessions
from somagent.services.starter import FIRST_LOOK

_HELD: Final = """
WITH matched AS (
  SELECT DISTINCT ON (s.id) s.id, k.id AS switch_id, k.reason, k.engaged_by
  FROM sessions s JOIN kill_switches k ON k.lifted_at IS NULL AND (k.scope = 'global' OR k.tenant_id = s.tenant_id AND (
    k.scope = 'tenant' OR k.scope = 'capsule' AND k.target = s.capsule_id
    OR k.scope = 'run' AND k.target = s.id::text))
  WHERE s.status = 'active' ORDER BY s.id, k.engaged_at
)
SELECT s.id, m.switch_id, m.reason, m.engaged_by FROM sessions s JOIN matched m ON m.id = s.id
WHERE s.status = 'active' ORDER BY m.switch_id, s.id FOR UPDATE OF s SKIP LOCKED
"""


async def stop_sessions(connection: asyncpg.Connection, *, delay: timedelta = FIRST_LOOK) -> Look:
    """End every session that a visible switch matches, and order its workflow to be cancelled."""
    held = await connection.fetch(_HELD)
    orders: list[SignalOrder] = []
    for _, rows in groupby(held, key=lambda row: row["switch_id"]):
        of_switch = list(rows)
        ended = await end_sessions(
            connection,
            status=SessionStatus.KILLED,
            reason=of_switch[0]["reason"],
            actor=of_switch[0]["engaged_by"],
            session_ids=[row["id"] for row in of_switch],
        )
        orders += [
            SignalOrder(kind="workflow.cancel", tenant_id=one.tenant_id, workflow_id=one.workflow_id) for one in ended
        ]
    recorded = await record_all(connection, orders, delay=delay)
    return Look(tuple(recorded), tuple(order.tenant_id for order in orders))

"""Stopping what engaged switches match: jobs with everything below them, and sessions.

One look stops all that it can reach without waiting: a row that somebody else holds at the moment is left to the
next look. The API looks when a switch is engaged, the relay as long as one is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import asyncpg
import orjson

from somagent.domain.messages.orders import SignalOrder
from somagent.services.starter import FIRST_LOOK, Recorded

_ENGAGED: Final = "SELECT EXISTS (SELECT 1 FROM kill_switches WHERE lifted_at IS NULL)"

# From every unfinished job up the line of its parents: it is stopped when a switch names it or one of them.
_MATCHED: Final = """
WITH RECURSIVE line AS (
  SELECT id AS job_id, id, tenant_id, parent_job_id, capsule_id, session_id FROM jobs
  WHERE status IN ('queued', 'running', 'waiting', 'paused') AND kill_switch_id IS NULL
  UNION ALL
  SELECT line.job_id, p.id, p.tenant_id, p.parent_job_id, p.capsule_id, p.session_id
  FROM line JOIN jobs p ON p.id = line.parent_job_id
), matched AS (
  SELECT DISTINCT ON (line.job_id) line.job_id, k.id AS kill_switch_id, k.reason
  FROM line JOIN kill_switches k ON k.lifted_at IS NULL AND (k.scope = 'global' OR k.tenant_id = line.tenant_id AND (
    k.scope = 'tenant' OR k.scope = 'capsule' AND k.target = line.capsule_id
    OR k.scope = 'run' AND k.target IN (line.id::text, line.session_id::text)))
  ORDER BY line.job_id, k.engaged_at
)"""

# A job that no worker has taken up yet is killed on the spot: its workflow finds it ended.
_STOP_JOBS: Final = f"""
{_MATCHED}, held AS (
  SELECT j.id, m.kill_switch_id, m.reason, j.status = 'queued' OR j.started_at IS NULL AS idle
  FROM jobs j JOIN matched m ON m.job_id = j.id
  WHERE j.status IN ('queued', 'running', 'waiting', 'paused') AND j.kill_switch_id IS NULL
  ORDER BY j.depth, j.id FOR UPDATE OF j SKIP LOCKED
), job AS (
  UPDATE jobs j SET cancel_requested = true, kill_switch_id = held.kill_switch_id, event_seq = event_seq + 1,
    status = CASE WHEN idle THEN 'killed' ELSE status END,
    finished_at = CASE WHEN idle THEN clock_timestamp() END,
    pause_requested = pause_requested AND NOT idle,
    error = CASE WHEN idle THEN jsonb_build_object('code', 'kill_switch_active',
      'detail', 'The kill switch stopped the job: ' || held.reason) ELSE error END
  FROM held WHERE j.id = held.id
  RETURNING j.id, j.tenant_id, j.workflow_id, j.event_seq, j.status, j.capsule_id, j.task, j.spent_tokens,
    j.parent_job_id
), steps AS (
  UPDATE job_steps SET status = 'cancelled', finished_at = clock_timestamp()
  WHERE job_id IN (SELECT id FROM job WHERE status = 'killed') AND status NOT IN ('completed', 'skipped')
), event AS (
  INSERT INTO job_events (job_id, seq, tenant_id, type, data)
  SELECT id, event_seq, tenant_id, CASE status WHEN 'killed' THEN 'job.killed' ELSE 'job.kill_requested' END, '{{}}'
  FROM job
), told AS (
  INSERT INTO outbox (tenant_id, kind, key, payload)
  SELECT tenant_id, 'event', id::text, jsonb_build_object('topic', 'project.events', 'type', 'job.killed',
    'job_id', id, 'capsule_id', capsule_id, 'task', task, 'tokens', spent_tokens) FROM job WHERE status = 'killed'
)
SELECT tenant_id, workflow_id, parent_job_id IN (SELECT id FROM job) IS TRUE AS below FROM job
"""  # noqa: S608 - constants of ours

_ORDER: Final = """
INSERT INTO outbox (tenant_id, kind, key, payload, available_at)
SELECT o.tenant_id, 'workflow.cancel', o.key, o.payload, now() + $2
FROM jsonb_to_recordset($1::text::jsonb) AS o(tenant_id text, key text, payload jsonb)
RETURNING id, key
"""


async def anything_engaged(connection: asyncpg.Connection) -> bool:
    """Whether the connection sees a switch that is engaged."""
    return bool(await connection.fetchval(_ENGAGED))


@dataclass(frozen=True, slots=True)
class Look:
    """What one look has stopped.

    Attributes:
        orders: to be told once it is committed.
        tenants: whose jobs and sessions it stopped, one entry for each.
    """

    orders: tuple[Recorded, ...] = ()
    tenants: tuple[str, ...] = ()

    def __add__(self, other: Look) -> Look:
        return Look(self.orders + other.orders, self.tenants + other.tenants)


async def stop_jobs(connection: asyncpg.Connection, *, delay: timedelta = FIRST_LOOK) -> Look:
    """Mark every job that a visible switch matches, and order its workflow to be cancelled.

    A job below another is cancelled by that one's workflow. Its own order is left to the relay, which tells it should
    the job still run by then; the orders given back are those to be told at once.

    Args:
        connection: inside a transaction; bound to a tenant it sees that tenant's jobs, as ``soma_system`` all.
        delay: how long the relay leaves the orders to the caller.
    """
    rows = await connection.fetch(_STOP_JOBS)
    at_once = [_cancellation(row) for row in rows if not row["below"]]
    await record_all(connection, [_cancellation(row) for row in rows if row["below"]], delay=FIRST_LOOK)
    orders = await record_all(connection, at_once, delay=delay)
    return Look(tuple(orders), tuple(row["tenant_id"] for row in rows))


def _cancellation(row: asyncpg.Record) -> SignalOrder:
    return SignalOrder(kind="workflow.cancel", tenant_id=row["tenant_id"], workflow_id=row["workflow_id"])


async def record_all(
    connection: asyncpg.Connection, orders: list[SignalOrder], *, delay: timedelta = FIRST_LOOK
) -> list[Recorded]:
    """Put many cancellations into the outbox by one statement."""
    if not orders:
        return []
    by_workflow = {order.workflow_id: order for order in orders}
    written = [
        {"tenant_id": order.tenant_id, "key": order.workflow_id, "payload": order.model_dump(mode="json")}
        for order in orders
    ]
    rows = await connection.fetch(_ORDER, orjson.dumps(written).decode(), delay)
    return [Recorded(row["id"], by_workflow[row["key"]]) for row in rows]

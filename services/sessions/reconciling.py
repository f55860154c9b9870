"""Making good what a power cut or an operator's hand left between a session's rows and its workflow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import structlog
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from somagent.adapters.postgres.database import Database
from somagent.adapters.temporal.client import RPC_TIMEOUT
from somagent.domain.messages.session import IDLE_AFTER, TURN_WAITS, SessionState, SessionStatus, TurnOrder
from somagent.services.sessions.ending import end_sessions
from somagent.services.sessions.taking import order_of
from somagent.services.starter import record

log = structlog.get_logger(__name__)

UNTOUCHED: Final = timedelta(seconds=45)
"""How long a turn that waits is left to its workflow."""
PAST_IDLE: Final = IDLE_AFTER + timedelta(minutes=5)
AT_ONCE: Final = 200
_START: Final = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))

# Sessions of which something should have been heard, from where the last look ended.
_SUSPECTS: Final = """
SELECT * FROM (
  SELECT s.id, s.tenant_id, s.user_id, s.capsule_id, s.workflow_id, s.created_at, s.turns, s.last_turn_at,
    array(SELECT t.seq FROM session_turns t WHERE t.session_id = s.id AND t.status IN ('queued', 'running')
          ORDER BY t.seq) AS waiting
  FROM sessions s WHERE s.status = 'active' AND s.last_turn_at < now() - $1::interval
    AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.kind = 'workflow.start' AND o.key = s.workflow_id)
    AND (s.created_at, s.id) > ($3, $4)
) AS quiet
WHERE waiting <> '{}' OR last_turn_at < now() - $2::interval ORDER BY created_at, id LIMIT $5
"""


class LostSessions:
    """Looks for sessions that Temporal has lost, a bounded number at a time."""

    def __init__(self, database: Database, client: Client) -> None:
        """``database`` as ``soma_system``."""
        self._database = database
        self._client = client
        self._looked_at = _START

    async def look(self) -> int:
        """Tell workflows again of turns that wait; start those that are gone; end sessions whose workflow has closed.

        Always answers 0, so that the relay pauses between two looks.
        """
        async with self._database.pool.acquire() as connection:
            suspects = await connection.fetch(_SUSPECTS, UNTOUCHED, PAST_IDLE, *self._looked_at, AT_ONCE)
        self._looked_at = _START if len(suspects) < AT_ONCE else (suspects[-1]["created_at"], suspects[-1]["id"])
        for session in suspects:
            await self._make_good(session)
        return 0

    async def _make_good(self, session: asyncpg.Record) -> None:
        handle = self._client.get_workflow_handle(session["workflow_id"])
        try:
            described = await handle.describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            await self._without_workflow(session)
            return
        if described.status is not WorkflowExecutionStatus.RUNNING:
            status = described.status.name.lower() if described.status else "closed"
            await self._end(session, f"its workflow was {status} in Temporal")
            return
        for seq in session["waiting"]:
            await handle.signal(TURN_WAITS, TurnOrder(seq=seq), rpc_timeout=RPC_TIMEOUT)

    async def _without_workflow(self, session: asyncpg.Record) -> None:
        if not session["waiting"]:
            await self._end(session, "idle")
            return
        log.warning("session_ordered_again", session_id=str(session["id"]))
        waiting = list(session["waiting"])
        state = SessionState(
            session_id=str(session["id"]), tenant_id=session["tenant_id"], waiting=waiting, settled=waiting[0] - 1
        )
        async with self._database.connection(session["tenant_id"]) as connection, connection.transaction():
            await record(connection, order_of(state, session["user_id"], session["capsule_id"]), delay=timedelta())

    async def _end(self, session: asyncpg.Record, reason: str) -> None:
        async with self._database.connection(session["tenant_id"]) as connection, connection.transaction():
            await end_sessions(
                connection, status=SessionStatus.ENDED, reason=reason, actor="somagent", session_ids=[session["id"]]
            )

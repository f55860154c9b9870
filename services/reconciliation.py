"""Making good what a power cut, a wiped queue or an operator's hand left between Postgres and the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import structlog
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from somagent.adapters.postgres.database import Database
from somagent.adapters.queue.port import Queue
from somagent.domain.errors import Code
from somagent.domain.messages.jobs import Conclusion, Failure, JobStatus
from somagent.domain.slm.messages import REQUESTS, SlmRequest
from somagent.services.jobs.conclusion import conclude
from somagent.services.jobs.ordering import order_again
from somagent.services.starter import record

log = structlog.get_logger(__name__)

UNTOUCHED = timedelta(seconds=45)
AT_ONCE = 200
"""How many jobs one look takes."""

# Jobs that should be on their way and show no sign of it, from where the last look ended.
_SUSPECTS = """
SELECT j.* FROM jobs j
WHERE j.status IN ('queued', 'running', 'waiting', 'paused') AND j.parent_job_id IS NULL
  AND j.created_at < now() - $1::interval
  AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.kind = 'workflow.start' AND o.key = j.workflow_id)
  AND NOT EXISTS (SELECT 1 FROM job_events e WHERE e.job_id = j.id AND e.created_at > now() - $1::interval)
  AND (j.created_at, j.id) > ($2, $3)
ORDER BY j.created_at, j.id LIMIT $4
"""
_START = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))
_UNANSWERED = """
UPDATE slm_requests SET published_at = now() WHERE request_id IN (
  SELECT request_id FROM slm_requests WHERE status IN ('queued', 'running') AND published_at < now() - $1::interval
  ORDER BY created_at LIMIT 100 FOR UPDATE SKIP LOCKED)
RETURNING request::text AS request
"""
_CLOSED = {
    WorkflowExecutionStatus.TERMINATED: (JobStatus.KILLED, "The workflow was terminated in Temporal."),
    WorkflowExecutionStatus.TIMED_OUT: (JobStatus.FAILED, "The workflow timed out in Temporal."),
    WorkflowExecutionStatus.FAILED: (JobStatus.FAILED, "The workflow failed in Temporal; its history says why."),
    WorkflowExecutionStatus.CANCELED: (JobStatus.CANCELLED, "The workflow was cancelled in Temporal."),
}


class Reconciliation:
    """Looks for what was lost, a bounded number at a time."""

    def __init__(self, database: Database, client: Client, queue: Queue) -> None:
        self._database = database
        self._client = client
        self._queue = queue
        self._looked_at = _START

    async def order_lost_jobs(self) -> int:
        """Order again the jobs that Temporal has no workflow of, and end those whose workflow was ended there.

        Always answers 0, so that the relay pauses between two looks.
        """
        async with self._database.pool.acquire() as connection:
            suspects = await connection.fetch(_SUSPECTS, UNTOUCHED, *self._looked_at, AT_ONCE)
        # Jobs that wait for people for weeks are suspects too, so that a bounded look has to move on.
        whole = len(suspects) < AT_ONCE
        self._looked_at = _START if whole else (suspects[-1]["created_at"], suspects[-1]["id"])
        for job in suspects:
            try:
                described = await self._client.get_workflow_handle(job["workflow_id"]).describe()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                await self._order_again(job)
                continue
            if described.status in _CLOSED:
                await self._end(job, *_CLOSED[described.status])
        return 0

    async def _order_again(self, job: asyncpg.Record) -> None:
        async with self._database.connection(job["tenant_id"]) as connection, connection.transaction():
            log.warning("job_ordered_again", job_id=str(job["id"]))
            await record(connection, await order_again(connection, job), delay=timedelta())

    async def _end(self, job: asyncpg.Record, status: JobStatus, detail: str) -> None:
        code = Code.INTERNAL_ERROR if status is JobStatus.FAILED else Code.CANCELLED
        async with self._database.connection(job["tenant_id"]) as connection:
            await conclude(
                connection,
                Conclusion(
                    job_id=str(job["id"]),
                    tenant_id=job["tenant_id"],
                    epoch=job["epoch"],
                    status=status,
                    failure=Failure(code=code, detail=detail),
                ),
            )

    async def republish_unanswered(self) -> int:
        """Queue requests again that have waited long; one that is still queued too is answered once."""
        async with self._database.pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_UNANSWERED, timedelta(minutes=2))
            for row in rows:
                request = SlmRequest.model_validate_json(row["request"])
                await self._queue.publish(REQUESTS, request.ordering_key, request.to_bytes())
        return 0

    async def forget_old_keys(self) -> int:
        """Delete idempotency keys past their 24 hours."""
        async with self._database.pool.acquire() as connection:
            await connection.execute("DELETE FROM idempotency_keys WHERE created_at < now() - interval '25 hours'")
        return 0

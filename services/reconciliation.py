"""Making good what a power cut, a wiped queue or an operator's hand left between Postgres and the others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import structlog
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from somagent.adapters.postgres.database import Database
from somagent.adapters.queue.port import Queue
from somagent.adapters.temporal.client import RPC_TIMEOUT
from somagent.domain.errors import Code
from somagent.domain.messages.jobs import REQUEST_COMPLETION, Conclusion, Failure, JobStatus
from somagent.domain.slm.messages import REQUESTS, SlmRequest
from somagent.services.identity.housekeeping import forget_old
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
WHERE j.status IN ('queued', 'running', 'waiting', 'paused')
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
_OPEN_REQUESTS = """
SELECT request->'metadata'->>'activity_id' AS activity_id FROM slm_requests
WHERE job_id = $1 AND status IN ('queued', 'running')
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

        Of those that run, steps whose request to a model was lost ask again.

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
                if job["parent_job_id"] is None:  # a child is started by its parent's workflow
                    await self._order_again(job)
                continue
            if described.status in _CLOSED:
                await self._end(job, *_CLOSED[described.status])
            else:
                await self._ask_models_again(job, described)
        return 0

    async def _ask_models_again(self, job: asyncpg.Record, described: WorkflowExecutionDescription) -> None:
        """Let steps ask once more that wait for an answer to a request of which there is no record.

        Their worker died after taking up the activity and before writing the request, or the answer is written and
        its delivery was lost. Nobody heartbeats for an activity that waits in the queue, so Temporal cannot know.
        """
        long_ago = datetime.now(UTC) - UNTOUCHED
        waiting = [
            pending.activity_id
            for pending in described.raw_description.pending_activities
            if pending.activity_type.name == REQUEST_COMPLETION
            and pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
            and pending.last_started_time.ToDatetime(UTC) < long_ago
        ]
        if not waiting:
            return
        async with self._database.connection(job["tenant_id"]) as connection:
            known = {row["activity_id"] for row in await connection.fetch(_OPEN_REQUESTS, job["id"])}
        for activity_id in waiting:
            if activity_id in known:
                continue
            log.warning("request_lost", job_id=str(job["id"]), activity_id=activity_id)
            handle = self._client.get_async_activity_handle(
                workflow_id=job["workflow_id"], run_id=described.run_id, activity_id=activity_id
            )
            lost = ApplicationError(
                "The request was lost with its worker; it is made again.",
                type=Code.SLM_UNAVAILABLE,
                next_retry_delay=timedelta(milliseconds=50),
            )
            try:
                await handle.fail(lost, rpc_timeout=RPC_TIMEOUT)
            except RPCError as error:  # it has been answered, or was found by another relay
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise

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
        """Delete idempotency keys past their 24 hours, and what identity needs no more."""
        async with self._database.pool.acquire() as connection:
            await connection.execute("DELETE FROM idempotency_keys WHERE created_at < now() - interval '25 hours'")
            await forget_old(connection)
        return 0

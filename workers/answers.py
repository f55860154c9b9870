"""Answers of models on their way back to the steps that wait for them."""

from __future__ import annotations

from datetime import timedelta

import orjson
import structlog
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from somagent.adapters.postgres.database import Database
from somagent.adapters.temporal.client import RPC_TIMEOUT, is_away, temporal_unavailable
from somagent.domain.errors import Code
from somagent.domain.messages.jobs import WorkOutcome, WorkResult
from somagent.domain.slm.messages import SlmFailure, SlmRequest, SlmResponse
from somagent.services.jobs.models import ModelSteps

log = structlog.get_logger(__name__)


class StepAnswers:
    """The consumer's record (Postgres), and whoever waits (an activity of a job's workflow)."""

    def __init__(self, database: Database, steps: ModelSteps, client: Client) -> None:
        self._database = database
        self._steps = steps
        self._client = client

    async def stored_answer(self, request: SlmRequest) -> SlmResponse | None:
        """The final answer that is recorded for this request."""
        async with self._database.connection(request.tenant) as connection:
            row = await connection.fetchrow(
                "UPDATE slm_requests SET status = CASE status WHEN 'queued' THEN 'running' ELSE status END "
                "WHERE request_id = $1 RETURNING status, response::text AS response",
                request.request_id,
            )
        if row is None or row["status"] == "cancelled":
            detail = "Nobody waits for this answer any more."
            error = SlmFailure(code=Code.CANCELLED, detail=detail, retryable=False)
            return SlmResponse(
                request_id=request.request_id, session_id=request.session_id, role=request.role, error=error
            )
        if row["response"] is None:
            return None
        return SlmResponse.model_validate(orjson.loads(row["response"]))

    async def record(self, request: SlmRequest, response: SlmResponse) -> None:
        """Store the answer and settle the step, in one transaction."""
        await self._steps.settle_answer(request, response)

    async def finish(self, request: SlmRequest, response: SlmResponse) -> None:
        """End the waiting activity; one that is gone needs nothing.

        Raises:
            SomaError: ``temporal_unavailable``.
        """
        metadata = request.metadata
        if metadata.workflow_id is None or metadata.activity_id is None:
            return
        result = await self._steps.settle_answer(request, response)
        handle = self._client.get_async_activity_handle(
            workflow_id=metadata.workflow_id, run_id=None, activity_id=metadata.activity_id
        )
        try:
            failed = result.outcome in (WorkOutcome.FAILED, WorkOutcome.RETRY) and result.failure is not None
            if failed:
                await handle.fail(_as_error(result), rpc_timeout=RPC_TIMEOUT)
            else:
                await handle.complete(result, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                log.debug("nobody_waits", request_id=request.request_id)
                return
            if is_away(error):
                raise temporal_unavailable() from error
            raise


def _as_error(result: WorkResult) -> ApplicationError:
    assert result.failure is not None  # noqa: S101 - the caller has looked
    final = result.outcome is WorkOutcome.FAILED
    delay = None if final else timedelta(seconds=max(result.retry_after_seconds, 0.05))
    return ApplicationError(
        result.failure.detail, type=result.failure.code, non_retryable=final, next_retry_delay=delay
    )

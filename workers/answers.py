"""Answers of models on their way back to whoever waits: a step, a turn of a session, or a request to the API."""

from __future__ import annotations

from collections.abc import Awaitable
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
from somagent.domain.messages.session import TURN_ANSWERED, TurnOrder
from somagent.domain.slm.messages import SlmFailure, SlmRequest, SlmResponse
from somagent.services.jobs.model_requests import waiting_work
from somagent.services.jobs.models import ModelSteps
from somagent.services.sessions.answering import TurnAnswers, turn_of
from somagent.services.slm.requests import close_request
from somagent.services.wakeups import Wakeups, slm_channel

log = structlog.get_logger(__name__)


class Answers:
    """The consumer's record (Postgres), and whoever waits for what is recorded."""

    def __init__(
        self, database: Database, steps: ModelSteps, turns: TurnAnswers, wakeups: Wakeups, client: Client
    ) -> None:
        self._database = database
        self._steps = steps
        self._turns = turns
        self._wakeups = wakeups
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
        """Store the answer and settle what waits for it, in one transaction."""
        if waiting_work(request) is not None:
            await self._steps.settle_answer(request, response)
        elif (turn := turn_of(request)) is not None:
            await self._turns.settle(turn, response)
        else:
            async with self._database.connection(request.tenant) as connection, connection.transaction():
                await close_request(connection, request.request_id, response)

    async def finish(self, request: SlmRequest, response: SlmResponse) -> None:
        """Tell whoever waits; one who is gone needs nothing.

        Raises:
            SomaError: ``temporal_unavailable``.
        """
        metadata = request.metadata
        if metadata.workflow_id is not None and metadata.activity_id is not None:
            result = await self._steps.settle_answer(request, response)
            await self._tell(request, self._end_activity(metadata.workflow_id, metadata.activity_id, result))
        elif (turn := turn_of(request)) is not None:
            handle = self._client.get_workflow_handle(f"session-{turn.session_id}")
            await self._tell(request, handle.signal(TURN_ANSWERED, TurnOrder(seq=turn.seq), rpc_timeout=RPC_TIMEOUT))
        else:
            await self._wakeups.now(slm_channel(request.request_id))

    async def _end_activity(self, workflow_id: str, activity_id: str, result: WorkResult) -> None:
        handle = self._client.get_async_activity_handle(workflow_id=workflow_id, run_id=None, activity_id=activity_id)
        if result.outcome in (WorkOutcome.FAILED, WorkOutcome.RETRY) and result.failure is not None:
            await handle.fail(_as_error(result), rpc_timeout=RPC_TIMEOUT)
        else:
            await handle.complete(result, rpc_timeout=RPC_TIMEOUT)

    async def _tell(self, request: SlmRequest, telling: Awaitable[None]) -> None:
        try:
            await telling
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

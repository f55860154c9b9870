"""Steps that ask a model: reserve, record, publish; and, when the answer comes, settle.

The request's id is ``{job}:{step}``, the same over attempts. Its answer is stored under it in the transaction that
settles the step, so a request that is delivered twice is answered once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import orjson
from pydantic import JsonValue

from somagent.adapters.postgres.database import Database, TenantConnection
from somagent.adapters.queue.port import Queue
from somagent.domain.actions.remote import RecallParams, SlmCompleteParams
from somagent.domain.capsules.references import resolve
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.jobs import Failure, WorkArgument, WorkOutcome, WorkResult
from somagent.domain.slm.messages import REQUESTS, SlmRequest, SlmResponse
from somagent.services.budgets import release, reserve
from somagent.services.gate.gate import Gate
from somagent.services.jobs.leave import prepare_with_leave
from somagent.services.jobs.model_requests import Waiter, build_request, waiting_work, worst_case_tokens
from somagent.services.jobs.outcome import concluding_outputs, ended
from somagent.services.jobs.preparation import is_skipped
from somagent.services.jobs.store import Settled, StepRow, mark, settle
from somagent.services.jobs.work import Work, step_failed, take_up
from somagent.services.memory import MemoryService
from somagent.services.slm.requests import close_request
from somagent.services.wakeups import Wakeups

KNOWN_ITEMS = 5
"""How many remembered items a capsule's `knowledge` entry brings to a model's attention."""

_STORE_REQUEST = """
INSERT INTO slm_requests (request_id, tenant_id, job_id, step_id, role, request, status, reserved_tokens)
VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, 'queued', $7)
ON CONFLICT (request_id) DO UPDATE SET status = 'queued', request = excluded.request, response = NULL,
  reserved_tokens = excluded.reserved_tokens, published_at = clock_timestamp(), finished_at = NULL
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """The request is in the queue: the activity ends when the consumer has the answer."""

    request: SlmRequest


class ModelSteps:
    """Asks models for steps, and settles the steps from their answers."""

    def __init__(self, database: Database, queue: Queue, memory: MemoryService, wakeups: Wakeups, gate: Gate) -> None:
        self._database = database
        self._queue = queue
        self._memory = memory
        self._wakeups = wakeups
        self._gate = gate

    async def request(self, argument: WorkArgument, waiter: Waiter) -> WorkResult | Waiting:
        """Queue the step's request, unless its answer is there already.

        Raises:
            SomaError: the queue is away; nothing is lost by asking again.
        """
        async with self._database.connection(argument.tenant_id) as connection:
            work, result = await take_up(connection, argument, waiter.run_id, self._gate)
            if work is None:
                return result
            step_id = argument.steps[0]
            if step_id in work.job.settled:
                return WorkResult(settled=(step_id,))
            if work.job.pause_requested or work.job.cancel_requested:
                return WorkResult(outcome=WorkOutcome.PAUSED)
            try:
                outcome = await self._record_request(connection, argument, work, waiter)
            except SomaError as error:
                return await step_failed(connection, work, step_id, error)
        self._wakeups.job_changed(argument.job_id)
        if isinstance(outcome, Waiting):
            await self._queue.publish(REQUESTS, outcome.request.ordering_key, outcome.request.to_bytes())
        return outcome

    async def _record_request(
        self, connection: TenantConnection, argument: WorkArgument, work: Work, waiter: Waiter
    ) -> WorkResult | Waiting:
        step, job = work.steps[argument.steps[0]], work.job
        if await is_skipped(step, job):
            row = Settled(step.id, step.action, "skipped", job.attempt(step.id), None, started_at=datetime.now(UTC))
            if await settle(connection, job.job_id, job.epoch, row) is None:
                return await ended(connection, job.job_id)
            return WorkResult(settled=(step.id,))
        prepared = await prepare_with_leave(connection, work, step)
        known = await self._known(connection, work) if isinstance(prepared.params, SlmCompleteParams) else ()
        tokens = worst_case_tokens(prepared.params, work.definition, known)
        request = build_request(argument, work, prepared.params, waiter, known)
        async with connection.transaction():
            # A repeat after a crash must not reserve twice.
            await release(connection, request.request_id)
            if not await reserve(connection, job.tenant_id, job.job_id, tokens):
                exhausted = Failure(
                    code=Code.BUDGET_EXHAUSTED,
                    detail=f"Step `{step.id}` may take {tokens:,} tokens; the job's or the tenant's budget has not so "
                    "many left. Raise the job's budget, or cancel it.",
                    step_id=step.id,
                )
                await mark(
                    connection, job.job_id, job.epoch, step.id, step.action, "waiting", job.attempt(step.id) - 1,
                    job_error=exhausted,
                )  # fmt: skip
                return WorkResult(outcome=WorkOutcome.EXHAUSTED, failure=exhausted)
            await connection.execute(
                _STORE_REQUEST, request.request_id, job.tenant_id, UUID(job.job_id), step.id, request.role.value,
                request.to_bytes().decode(), tokens,
            )  # fmt: skip
            attempt = job.attempt(step.id)
            if await mark(connection, job.job_id, job.epoch, step.id, step.action, "running", attempt) is None:
                raise SomaError(Code.JOB_FENCED, "The job has ended meanwhile.")
        return Waiting(request)

    async def _known(self, connection: TenantConnection, work: Work) -> tuple[str, ...]:
        """What memory holds for the capsule's ``knowledge``: a text an item, best first, each once."""
        job = work.job
        texts: dict[str, None] = {}
        for knowledge in work.definition.knowledge:
            query = str(resolve(knowledge.query, job.inputs, job.outputs, job.skipped))
            params = RecallParams(query=query, namespace=knowledge.namespace, limit=KNOWN_ITEMS)
            found = await self._memory.recall(connection, job.tenant_id, params)
            texts.update(dict.fromkeys(item.text for item in found.items))
        return tuple(texts)

    async def settle_answer(self, request: SlmRequest, response: SlmResponse) -> WorkResult:
        """Store an answer and settle the step that asked, in one transaction; a repeat changes nothing."""
        argument = waiting_work(request)
        async with self._database.connection(request.tenant) as connection, connection.transaction():
            if not await close_request(connection, request.request_id, response):
                return await _standing(connection, argument)
            if argument is None:
                return WorkResult()
            result = await self._settle_step(connection, argument, response)
        self._wakeups.job_changed(argument.job_id)
        return result

    async def _settle_step(
        self, connection: TenantConnection, argument: WorkArgument, response: SlmResponse
    ) -> WorkResult:
        work, result = await take_up(connection, argument, None, self._gate)
        if work is None:
            return result
        step_id = argument.steps[0]
        step, job = work.steps[step_id], work.job
        if step_id in job.settled:
            return WorkResult(settled=(step_id,))
        if response.error is not None:
            error = SomaError(Code(response.error.code), response.error.detail, retry_after=response.error.retry_after)
            return await step_failed(connection, work, step_id, error, retryable=response.error.retryable)
        output: JsonValue = orjson.loads(response.to_output().model_dump_json(by_alias=True))
        attempt = job.attempt(step_id)
        job.steps[step_id] = StepRow("completed", attempt, output)
        outputs = concluding_outputs(work.definition, job) if argument.concludes else None
        row = Settled(step_id, step.action, "completed", attempt, output, outputs=outputs)
        if await settle(connection, job.job_id, job.epoch, row) is None:
            return await ended(connection, job.job_id, settled=(step_id,))
        return WorkResult(settled=(step_id,), concluded=outputs is not None)


async def _standing(connection: TenantConnection, argument: WorkArgument | None) -> WorkResult:
    """How the step stands whose answer was stored by an earlier delivery."""
    if argument is None:
        return WorkResult()
    row = await connection.fetchrow(
        "SELECT j.status AS job, s.status AS step, s.error->>'code' AS code, s.error->>'detail' AS detail "
        "FROM jobs j LEFT JOIN job_steps s ON s.job_id = j.id AND s.step_id = $2 WHERE j.id = $1",
        UUID(argument.job_id),
        argument.steps[0],
    )
    if row is None:
        return WorkResult(outcome=WorkOutcome.ENDED)
    if row["step"] in ("completed", "skipped"):
        return WorkResult(settled=argument.steps, concluded=row["job"] == "completed")
    failure = Failure(code=row["code"] or Code.SLM_FAILED, detail=row["detail"] or "", step_id=argument.steps[0])
    if row["step"] == "failed":
        return WorkResult(outcome=WorkOutcome.FAILED, failure=failure)
    return WorkResult(outcome=WorkOutcome.RETRY, failure=failure, retry_after_seconds=1.0)

"""Asking a model and waiting for its answer: through the same queue and budgets as a job's steps.

The question is a row before it is a message, and the answer is a row before anyone hears of it. Redis only wakes who
waits; whoever misses that looks at the row a quarter of a second later.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from redis.asyncio import Redis

from somagent.adapters.postgres.database import Database
from somagent.adapters.queue.port import Queue
from somagent.domain.actions.remote import ChatMessage, SlmRole
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.slm.messages import REQUESTS, SlmMetadata, SlmParameters, SlmRequest, SlmResponse
from somagent.services.slm.requests import open_request, stored_response, withdraw_request
from somagent.services.wakeups import heard, slm_channel

LOOK_SECONDS: Final = 0.25
"""How long a missed wake-up can delay an answer."""
PATIENCE_SECONDS: Final = 120.0
"""How long an answer is waited for where the caller does not say."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a model, by whom.

    Attributes:
        messages: the conversation, for a completion.
        texts: what is to be embedded; then ``messages`` is empty.
        session_id: questions of one session are answered in the order they were asked.
        request_id: the same id again is the same question, and has the same answer.
        metadata: passed on untouched with the request (``capsule_id``, ``traceparent``, ...).
    """

    tenant_id: str
    user_id: str
    role: SlmRole
    messages: Sequence[ChatMessage] = ()
    texts: Sequence[str] = ()
    parameters: SlmParameters = field(default_factory=SlmParameters)
    session_id: str | None = None
    request_id: str = field(default_factory=lambda: str(uuid4()))
    metadata: JsonObject = field(default_factory=dict)

    def to_request(self) -> SlmRequest:
        """The queue's message."""
        return SlmRequest(
            request_id=self.request_id,
            tenant=self.tenant_id,
            session_id=self.session_id,
            role=self.role,
            kind="embed" if self.texts else "complete",
            messages=list(self.messages) or None,
            input=list(self.texts) or None,
            parameters=self.parameters,
            metadata=SlmMetadata.model_validate({**self.metadata, "user_id": self.user_id}),
            timestamp=datetime.now(UTC).isoformat(),
        )


class Asking:
    """Puts questions to models, and waits for answers.

    Args:
        redis: where the consumer says that an answer is there; while it is away, rows are looked at.
    """

    def __init__(self, database: Database, queue: Queue, redis: Redis) -> None:
        self._database = database
        self._queue = queue
        self._redis = redis

    async def ask(self, question: Question, *, seconds: float = PATIENCE_SECONDS) -> SlmResponse:
        """The model's answer, with its ``result``.

        Raises:
            SomaError: ``budget_exhausted``; ``redis_unavailable`` while the queue is away; ``slm_timed_out`` after
                ``seconds``; and what the provider answered (``slm_failed``, ``prompt_too_long``, ...).
        """
        async with heard(self._redis, slm_channel(question.request_id)) as answered:
            await self.put(question)
            response = await self._answer(question, answered, seconds)
        if response.error is not None:
            error = response.error
            raise SomaError(Code(error.code), error.detail, retry_after=error.retry_after, retryable=error.retryable)
        return response

    async def put(self, question: Question) -> None:
        """Queue a question without waiting for its answer.

        Raises:
            SomaError: ``budget_exhausted``; ``redis_unavailable``: then nothing stays reserved.
        """
        request = question.to_request()
        async with self._database.connection(question.tenant_id) as connection:
            await open_request(connection, request)
        try:
            await self._queue.publish(REQUESTS, request.ordering_key, request.to_bytes())
        except SomaError:
            await self.withdraw(question.tenant_id, request.request_id)
            raise

    async def answer_to(self, tenant_id: str, request_id: str) -> SlmResponse | None:
        """The answer to a question, once there is one."""
        async with self._database.connection(tenant_id) as connection:
            return await stored_response(connection, request_id)

    async def withdraw(self, tenant_id: str, request_id: str) -> bool:
        """Nobody waits any more; False where the answer came first."""
        async with self._database.connection(tenant_id) as connection, connection.transaction():
            return await withdraw_request(connection, request_id)

    async def _answer(self, question: Question, answered: asyncio.Event, seconds: float) -> SlmResponse:
        deadline = time.monotonic() + seconds
        while True:
            answered.clear()
            response = await self.answer_to(question.tenant_id, question.request_id)
            if response is not None:
                return response
            left = deadline - time.monotonic()
            if left <= 0 and await self.withdraw(question.tenant_id, question.request_id):
                raise SomaError(
                    Code.SLM_TIMED_OUT,
                    f"No model answered within {seconds:g} seconds, and the question was withdrawn. Ask again, or "
                    "look at slm_queue_depth: models may be busy.",
                )
            with suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), min(LOOK_SECONDS, max(left, 0.01)))

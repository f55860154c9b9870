"""The consumer of slm.requests: ask the record, call the provider, record, publish, tell whoever waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

import structlog
from pydantic import ValidationError

from somagent.adapters.queue.port import Delivery, Postponed, Queue, Undeliverable
from somagent.adapters.slm.registry import Providers
from somagent.domain.errors import Category, Code, SomaError
from somagent.domain.slm.messages import REQUESTS, RESPONSES, SlmRequest, SlmResponse
from somagent.domain.slm.ports import AnswerSink
from somagent.workers.slm_caller import CallPolicy, SlmCaller, failure
from somagent.workers.slm_metrics import SlmMetrics

GROUP: Final = "slm-consumers"
_DEPTH_SECONDS: Final = 2.0
_LONGEST_WAIT: Final = 10.0
_T = TypeVar("_T")
_PASSING: Final = frozenset((Category.UNAVAILABLE, Category.TIMEOUT, Category.LIMITED))

log = structlog.get_logger(__name__)


class SlmConsumer:
    """Answers requests until stopped.

    The order makes a crash at any point safe: an answer is recorded before anyone hears of it, a repeated request is
    answered from the record, and a message leaves the queue last.

    Args:
        queue: where requests come from and responses go; the caller closes it.
        providers: who answers; the caller closes them.
        sink: the record, and whoever waits.
        metrics: the process's collectors.
        name: this consumer's name, unique among the living of the group.
        concurrency: requests in hand at most. More than a provider's ``in_flight`` lets another provider's go on.
        policy: how calls are repeated.
    """

    def __init__(
        self,
        queue: Queue,
        providers: Providers,
        sink: AnswerSink,
        metrics: SlmMetrics,
        *,
        name: str,
        concurrency: int = 16,
        policy: CallPolicy | None = None,
    ) -> None:
        self._queue = queue
        self._sink = sink
        self._metrics = metrics
        self._name = name
        self._concurrency = concurrency
        self._caller = SlmCaller(providers, metrics, policy or CallPolicy())
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Consumes until :meth:`stop`."""
        watch = asyncio.create_task(self._watch_depth())
        try:
            await self._queue.consume(
                REQUESTS, GROUP, self._name, self.handle, concurrency=self._concurrency, on_dead=self.bury
            )
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def stop(self, grace_seconds: float = 30.0) -> None:
        """Finishes what is in hand; what takes longer than ``grace_seconds`` goes back to the queue."""
        self._stopping.set()
        await self._queue.stop(grace_seconds)

    async def handle(self, delivery: Delivery) -> None:
        """Answers one request.

        Raises:
            Undeliverable: the message is no request.
            Postponed: a part of ours is away and this consumer is about to stop.
        """
        request = _request_of(delivery)
        response = await self._patiently(lambda: self._sink.stored_answer(request))
        if response is None:
            response = await self._caller.answer(request)
            self._count(response)
            await self._patiently(lambda: self._sink.record(request, response))
        else:
            self._metrics.requests.labels(request.role, response.metrics.model, "replayed").inc()
        await self._tell(request, response)

    async def bury(self, delivery: Delivery, reason: str) -> None:
        """Answers a request that is given up with an error, so that nobody waits for it for ever.

        Raises:
            Exception: the record did not take the answer; the queue asks again.
        """
        try:
            request = _request_of(delivery)
        except Undeliverable:
            self._metrics.dead.inc()
            return
        error = SomaError(
            Code.SLM_FAILED,
            f"The request was given up after {delivery.attempt} deliveries; it lies in slm.dead. Last: {reason}"[
                :2_000
            ],
            retryable=False,
        )
        response = failure(request, error)
        await self._sink.record(request, response)
        self._metrics.dead.inc()
        self._count(response)
        try:
            await self._tell(request, response)
        except Postponed:
            raise
        except Exception as failed:  # recorded, and whoever waits has a time limit: nothing is gained by holding on
            log.error("slm_burial_untold", request_id=request.request_id, error=f"{type(failed).__name__}: {failed}")

    async def _tell(self, request: SlmRequest, response: SlmResponse) -> None:
        await self._patiently(lambda: self._queue.publish(RESPONSES, request.ordering_key, response.to_bytes()))
        await self._patiently(lambda: self._sink.finish(request, response))

    async def _patiently(self, act: Callable[[], Awaitable[_T]]) -> _T:
        """Waits out an outage of the record, the queue or Temporal: the answer in hand is worth more than the slot."""
        pause = 0.2
        while True:
            try:
                return await act()
            except SomaError as error:
                if error.category not in _PASSING:
                    raise
                if self._stopping.is_set():
                    raise Postponed(0.0) from error
                log.warning("slm_consumer_waits", code=error.code, pause_seconds=pause)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), max(pause, error.retry_after or 0.0))
                pause = min(_LONGEST_WAIT, pause * 2)

    def _count(self, response: SlmResponse) -> None:
        metrics, role = response.metrics, response.role
        outcome = "completed" if response.error is None else response.error.code
        self._metrics.requests.labels(role, metrics.model, outcome).inc()
        self._metrics.tokens.labels(role, metrics.model, "prompt").inc(metrics.prompt_tokens)
        self._metrics.tokens.labels(role, metrics.model, "completion").inc(metrics.completion_tokens)

    async def _watch_depth(self) -> None:
        while True:
            with suppress(SomaError):  # the consumption reports an outage; the gauge keeps its last value
                self._metrics.depth.labels(REQUESTS).set(await self._queue.depth(REQUESTS, GROUP))
            await asyncio.sleep(_DEPTH_SECONDS)


def _request_of(delivery: Delivery) -> SlmRequest:
    try:
        return SlmRequest.model_validate_json(delivery.value)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5])
        raise Undeliverable(f"not a v1 request: {faults}") from error

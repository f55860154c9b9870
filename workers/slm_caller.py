"""Calls a provider for one request: bounded in flight, a few tries, and an answer in every case."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from somagent.adapters.slm.port import Completion, Embeddings, Provider
from somagent.adapters.slm.registry import Providers
from somagent.domain.actions.remote import SlmRole
from somagent.domain.errors import Code, SomaError
from somagent.domain.slm.messages import SlmFailure, SlmMetrics, SlmRequest, SlmResponse, SlmResult
from somagent.domain.slm.storable import storable, storable_text
from somagent.workers.slm_metrics import SlmMetrics as Meters

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """How often and how long to try.

    Attributes:
        attempts: calls for one request at most.
        base_seconds: the first pause, doubled each time, each between half and all of it at random.
        longest_pause_seconds: no pause is longer. Where a server asks for a longer one (Retry-After), the request is
            answered with the error instead, so that its step waits in Temporal and not in a slot here.
        in_flight: calls to one provider at the same time.
    """

    attempts: int = 3
    base_seconds: float = 0.5
    longest_pause_seconds: float = 20.0
    in_flight: int = 8


class SlmCaller:
    """Turns a request into a response; never raises for what a provider does."""

    def __init__(
        self,
        providers: Providers,
        meters: Meters,
        policy: CallPolicy,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._providers = providers
        self._meters = meters
        self._policy = policy
        self._jitter = jitter
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(policy.in_flight))

    async def answer(self, request: SlmRequest) -> SlmResponse:
        """The provider's answer, or its error after the last try."""
        provider = self._providers.provider_for(request)
        async with self._slots[provider.name]:
            self._meters.in_flight.labels(provider.name).inc()
            try:
                return await self._try_repeatedly(provider, request)
            finally:
                self._meters.in_flight.labels(provider.name).dec()

    async def _try_repeatedly(self, provider: Provider, request: SlmRequest) -> SlmResponse:
        started = time.perf_counter()
        for attempt in range(1, self._policy.attempts + 1):
            called = time.perf_counter()
            try:
                answer = await _call(provider, request)
                result = _result_of(answer)
            except SomaError as error:
                pause = self._pause(error, attempt)
                if pause is None:
                    return self._failed(provider, request, error, attempt, time.perf_counter() - started)
                self._meters.retries.labels(provider.name, error.code).inc()
                log.info("slm_call_repeated", request_id=request.request_id, code=error.code, pause_seconds=pause)
                await asyncio.sleep(pause)
            else:
                latency_ms = (time.perf_counter() - called) * 1000
                self._meters.latency.labels(request.role, answer.model).observe(time.perf_counter() - started)
                return _answered(request, result, answer, latency_ms, attempt)
        raise AssertionError("the last attempt has no pause")

    def _pause(self, error: SomaError, attempt: int) -> float | None:
        """Seconds before the next call, or None where another makes no sense."""
        if not error.retryable or attempt >= self._policy.attempts:
            return None
        asked = error.retry_after or 0.0
        if asked > self._policy.longest_pause_seconds:
            return None
        own: float = self._policy.base_seconds * 2.0 ** (attempt - 1) * (0.5 + self._jitter() / 2)
        return min(self._policy.longest_pause_seconds, max(asked, own))

    def _failed(
        self, provider: Provider, request: SlmRequest, error: SomaError, attempts: int, seconds: float
    ) -> SlmResponse:
        self._meters.latency.labels(request.role, provider.name).observe(seconds)
        metrics = SlmMetrics(model=provider.name, latency_ms=round(seconds * 1000, 3), attempts=attempts)
        return failure(request, error, metrics)


def failure(request: SlmRequest, error: SomaError, metrics: SlmMetrics | None = None) -> SlmResponse:
    """The response that carries an error."""
    said = SlmFailure(
        code=error.code, detail=storable_text(error.detail), retryable=error.retryable, retry_after=error.retry_after
    )
    return SlmResponse(
        request_id=request.request_id,
        session_id=request.session_id,
        role=request.role,
        metrics=metrics or SlmMetrics(),
        error=said,
    )


async def _call(provider: Provider, request: SlmRequest) -> Completion | Embeddings:
    if request.kind == "complete" and request.role is SlmRole.EMBEDDINGS:
        raise SomaError(Code.PARAMS_INVALID, "Role embeddings answers with vectors: use slm.embed instead.")
    try:
        return await (provider.embed(request) if request.kind == "embed" else provider.complete(request))
    except SomaError:
        raise
    except Exception as error:
        log.exception("slm_provider_broke", provider=provider.name, request_id=request.request_id)
        detail = f"The provider `{provider.name}` broke ({type(error).__name__}); its log has the trace. Try again."
        raise SomaError(Code.SLM_FAILED, detail) from error


def _result_of(answer: Completion | Embeddings) -> SlmResult:
    if isinstance(answer, Completion):
        return SlmResult(completion=storable(answer.value))
    return SlmResult(vectors=answer.vectors)


def _answered(
    request: SlmRequest, result: SlmResult, answer: Completion | Embeddings, latency_ms: float, attempts: int
) -> SlmResponse:
    metrics = SlmMetrics(
        model=storable_text(answer.model)[:200],
        prompt_tokens=answer.usage.prompt_tokens,
        completion_tokens=answer.usage.completion_tokens,
        total_tokens=answer.usage.total_tokens,
        estimated=answer.usage.estimated,
        latency_ms=round(latency_ms, 3),
        cost=answer.cost,
        attempts=attempts,
    )
    return SlmResponse(
        request_id=request.request_id,
        session_id=request.session_id,
        role=request.role,
        result=result,
        metrics=metrics,
    )

"""The consumer with real Redis, real providers and a real model server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from somagent.adapters.queue.redis_streams import RedisStreams
from somagent.adapters.settings import Settings
from somagent.adapters.slm.registry import providers_from
from somagent.domain.actions.remote import SlmRole
from somagent.domain.slm.messages import DEAD, REQUESTS, RESPONSES, SlmRequest, SlmResponse
from somagent.domain.slm.sentences import split_sentences
from somagent.tests.slm.asking import asked, to_embed
from somagent.tests.slm.model_server import ModelServer, chat
from somagent.tests.slm.redis_server import RedisServer
from somagent.tests.slm.redis_sink import RedisSink
from somagent.tests.slm.waiting import until
from somagent.workers.slm_caller import CallPolicy
from somagent.workers.slm_consumer import GROUP, SlmConsumer
from somagent.workers.slm_metrics import SlmMetrics

TEXT = (
    "The queue holds requests for models. A consumer takes a request from the queue and asks a model. "
    "Cats sleep in the afternoon. The answer of the model is recorded before the request leaves the queue. "
    "A request is repeated when its consumer dies."
)
QUICK = CallPolicy(attempts=3, base_seconds=0.05, longest_pause_seconds=2.0, in_flight=3)


class Bench:
    """A running consumer and what is around it."""

    def __init__(self, queue: RedisStreams, redis: Redis, consumer: SlmConsumer, registry: CollectorRegistry) -> None:
        self.queue, self.redis, self.consumer, self.registry = queue, redis, consumer, registry

    async def ask(self, *requests: SlmRequest) -> list[SlmResponse]:
        """Publishes, waits until the queue is empty, and gives the responses on slm.responses since."""
        before = await self.redis.xlen(RESPONSES)
        for request in requests:
            await self.queue.publish(REQUESTS, request.ordering_key, request.to_bytes())
        await self.drained()
        entries = cast(list[tuple[bytes, dict[bytes, bytes]]], await self.redis.xrange(RESPONSES))
        return [SlmResponse.model_validate_json(fields[b"v"]) for _, fields in entries[before:]]

    async def drained(self) -> None:
        await until(functools.partial(_drained, self.queue))

    async def story(self) -> list[str]:
        return [line.decode() for line in cast(list[bytes], await self.redis.lrange("story", 0, -1))]

    def counted(self, **labels: str) -> float:
        return self.registry.get_sample_value("slm_requests_total", labels) or 0.0


@contextlib.asynccontextmanager
async def running(
    queue: RedisStreams, redis: Redis, sink_url: str, base_url: str = "", timeout_seconds: float = 5.0
) -> AsyncIterator[Bench]:
    registry = CollectorRegistry()
    settings = Settings(SLM_BASE_URL=base_url, SLM_MODEL="tiny-1", SLM_TIMEOUT_SECONDS=timeout_seconds)
    providers = providers_from(settings)
    sink = RedisSink(sink_url)
    consumer = SlmConsumer(queue, providers, sink, SlmMetrics(registry), name="one", policy=QUICK)
    task = asyncio.create_task(consumer.run())
    try:
        yield Bench(queue, redis, consumer, registry)
    finally:
        await consumer.stop(5.0)
        await task
        await providers.close()
        await sink.close()


@pytest.fixture
async def builtin(queue: RedisStreams, redis: Redis, redis_server: RedisServer) -> AsyncIterator[Bench]:
    """A consumer with the built-in provider."""
    async with running(queue, redis, redis_server.url) as bench:
        yield bench


@pytest.fixture
async def served(
    queue: RedisStreams, redis: Redis, redis_server: RedisServer, model_server: ModelServer
) -> AsyncIterator[Bench]:
    """A consumer with the model server."""
    async with running(queue, redis, redis_server.url, model_server.base_url) as bench:
        yield bench


async def test_answered_recorded_published_told(builtin: Bench) -> None:
    (response,) = await builtin.ask(asked(TEXT))
    assert response.error is None
    assert response.result is not None
    summary = str(response.result.completion)
    assert all(sentence in split_sentences(TEXT) for sentence in split_sentences(summary))
    assert 0 < len(summary) < len(TEXT)
    assert response.metrics.model == "builtin/extractive-1"
    assert response.metrics.estimated
    assert await builtin.story() == ["recorded job-1:sum", "finished job-1:sum"]
    assert builtin.counted(role="summarization", model="builtin/extractive-1", outcome="completed") == 1


async def test_vectors(builtin: Bench) -> None:
    (response,) = await builtin.ask(to_embed("one text", "another"))
    assert response.result is not None
    assert response.result.vectors is not None
    assert [len(vector) for vector in response.result.vectors] == [384, 384]
    assert response.metrics.model == "builtin/hashing-384"


async def test_repeat_is_answered_from_the_record(served: Bench, model_server: ModelServer) -> None:
    model_server.answers(chat("First."), chat("Second."))
    (first,) = await served.ask(asked("Hello"))
    (again,) = await served.ask(asked("Hello"))
    assert again == first
    assert len(model_server.requests()) == 1
    assert await served.story() == ["recorded job-1:sum", "finished job-1:sum", "finished job-1:sum"]


async def test_waits_as_long_as_the_server_asks(served: Bench, model_server: ModelServer) -> None:
    model_server.answers({"status": 429, "headers": {"Retry-After": "1"}}, {"status": 503}, chat("At last."))
    started = asyncio.get_running_loop().time()
    (response,) = await served.ask(asked("Hello"))
    assert asyncio.get_running_loop().time() - started >= 1.0
    assert response.result is not None
    assert response.result.completion == "At last."
    assert response.metrics.attempts == 3


async def test_retryable_error_is_no_final_answer(served: Bench, model_server: ModelServer) -> None:
    model_server.answers({"status": 429, "headers": {"Retry-After": "3600"}}, chat("Later."))
    (response,) = await served.ask(asked("Hello"))
    assert response.error is not None
    assert (response.error.code, response.error.retryable, response.error.retry_after) == ("rate_limited", True, 3600.0)
    (response,) = await served.ask(asked("Hello"))
    assert response.result is not None


async def test_lasting_refusal_is_asked_once(served: Bench, model_server: ModelServer) -> None:
    model_server.answers({"status": 401})
    (response,) = await served.ask(asked("Hello"))
    assert response.error is not None
    assert (response.error.code, response.error.retryable) == ("adapter_not_configured", False)
    assert len(model_server.requests()) == 1
    assert served.counted(role="summarization", model="openai-compatible", outcome="adapter_not_configured") == 1


async def test_failing_server_is_asked_three_times(served: Bench, model_server: ModelServer) -> None:
    model_server.answers({"status": 500})
    (response,) = await served.ask(asked("Hello"))
    assert response.error is not None
    assert (response.error.code, response.error.retryable) == ("slm_unavailable", True)
    assert len(model_server.requests()) == 3


async def test_answers_that_no_store_can_hold(served: Bench, model_server: ModelServer) -> None:
    model_server.answers(chat("a\x00b\ud800c"))
    (response,) = await served.ask(asked("Hello", request_id="text"))
    assert response.result is not None
    assert response.result.completion == "a\ufffdb\ufffdc"
    for content in ("[" * 200 + "]" * 200, "[1e999]"):
        model_server.answers(chat(content))
        (response,) = await served.ask(asked("Hello", request_id=content[:4], schema={}))
        assert response.error is not None
        assert response.error.code == "slm_invalid_output"


async def test_role_embeddings_completes_nothing(builtin: Bench) -> None:
    (response,) = await builtin.ask(asked("Hello", SlmRole.EMBEDDINGS))
    assert response.error is not None
    assert (response.error.code, response.error.retryable) == ("params_invalid", False)


async def test_no_request_is_a_dead_letter(builtin: Bench) -> None:
    for value in (b"not json", b'{"version": "v2"}', asked("x").to_bytes().replace(b"summarization", b"poetry")):
        await builtin.queue.publish(REQUESTS, "key", value)
    await builtin.drained()
    assert await builtin.redis.xlen(DEAD) == 3
    assert await builtin.story() == []


async def test_calls_to_a_provider_are_bounded(served: Bench, model_server: ModelServer) -> None:
    model_server.answers({**chat("Hi."), "sleep": 0.1})
    responses = await served.ask(*(asked("Hello", request_id=f"job:{number}") for number in range(12)))
    assert len(responses) == 12
    assert model_server.most_at_once() == QUICK.in_flight


async def test_record_that_is_away_is_waited_for(queue: RedisStreams, redis: Redis) -> None:
    record = RedisServer()
    record.start()
    try:
        async with running(queue, redis, record.url) as bench:
            record.kill()
            request = asked(TEXT)
            await queue.publish(REQUESTS, request.ordering_key, request.to_bytes())
            await asyncio.sleep(2.5)
            assert await queue.depth(REQUESTS, GROUP) == 1
            record.start()
            await bench.drained()
            assert await redis.xlen(RESPONSES) == 1
            assert await redis.xlen(DEAD) == 0
    finally:
        record.remove()


async def test_stop_while_the_record_is_away_gives_back(
    queue: RedisStreams, redis: Redis, redis_server: RedisServer
) -> None:
    record = RedisServer()
    record.start()
    try:
        async with running(queue, redis, record.url):
            record.kill()
            request = asked(TEXT)
            await queue.publish(REQUESTS, request.ordering_key, request.to_bytes())
            await asyncio.sleep(0.7)
    finally:
        record.remove()
    other = RedisStreams.from_url(redis_server.url, claim_idle_seconds=1.0)
    async with running(other, redis, redis_server.url) as bench:
        await bench.drained()
    await other.close()
    assert await redis.xlen(DEAD) == 0


class BrokenSink(RedisSink):
    """A record with a bug: it cannot be asked, and tells nobody."""

    async def stored_answer(self, request: SlmRequest) -> SlmResponse | None:
        raise ZeroDivisionError("a bug")

    async def finish(self, request: SlmRequest, response: SlmResponse) -> None:
        raise ZeroDivisionError("a bug")


async def test_given_up_request_is_answered_with_an_error(
    queue: RedisStreams, redis: Redis, redis_server: RedisServer
) -> None:
    providers, sink, registry = (
        providers_from(Settings(SLM_BASE_URL="")),
        BrokenSink(redis_server.url),
        CollectorRegistry(),
    )
    consumer = SlmConsumer(queue, providers, sink, SlmMetrics(registry), name="one")
    task = asyncio.create_task(consumer.run())
    (response,) = await Bench(queue, redis, consumer, registry).ask(asked(TEXT))
    await consumer.stop()
    await task
    await sink.close()
    assert response.error is not None
    assert (response.error.code, response.error.retryable) == ("slm_failed", False)
    assert "ZeroDivisionError" in response.error.detail
    assert await redis.xlen(DEAD) == 1
    assert await redis.hexists("answers", "job-1:sum")
    assert registry.get_sample_value("slm_dead_letters_total") == 1


async def test_depth_is_a_metric(builtin: Bench) -> None:
    assert builtin.registry.get_sample_value("slm_queue_topic_depth", {"topic": REQUESTS}) == 0


async def test_code_is_refused_plainly(builtin: Bench) -> None:
    (response,) = await builtin.ask(asked("Write a sort", SlmRole.CODE_GENERATION))
    assert response.error is not None
    assert (response.error.code, response.error.retryable) == ("slm_failed", False)
    assert "SLM_BASE_URL" in response.error.detail


@contextlib.contextmanager
def consumer_process(server: RedisServer, model_server: ModelServer, name: str) -> Iterator[subprocess.Popen[bytes]]:
    script = Path(__file__).with_name("consumer_process.py")
    process = subprocess.Popen([sys.executable, str(script), server.url, model_server.base_url, name])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_killed_in_the_middle_of_thirty(
    queue: RedisStreams, redis: Redis, redis_server: RedisServer, model_server: ModelServer
) -> None:
    model_server.answers({**chat("Hi."), "sleep": 0.05})
    for number in range(30):
        request = asked("Hello", request_id=f"job-{number}:sum")
        await queue.publish(REQUESTS, request.ordering_key, request.to_bytes())
    for name in ("first", "second"):
        wanted = int(await redis.hlen("answers")) + 5
        with consumer_process(redis_server, model_server, name):
            await until(functools.partial(_answered, redis, wanted))
    with consumer_process(redis_server, model_server, "third"):
        await until(functools.partial(_answered, redis, 30))
        await until(functools.partial(_drained, queue))
    story = [line.decode() for line in cast(list[bytes], await redis.lrange("story", 0, -1))]
    for number in range(30):
        assert story.count(f"recorded job-{number}:sum") == 1
        assert f"finished job-{number}:sum" in story
    assert await redis.xlen(DEAD) == 0


async def _answered(redis: Redis, wanted: int) -> bool:
    return int(await redis.hlen("answers")) >= wanted


async def _drained(queue: RedisStreams) -> bool:
    return await queue.depth(REQUESTS, GROUP) == 0

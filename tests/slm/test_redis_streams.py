"""The queue on a real redis-server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from somagent.adapters.queue.port import MAX_DELIVERIES, Delivery, Handler, Postponed, Undeliverable
from somagent.adapters.queue.redis_streams import RedisStreams
from somagent.domain.errors import Code, SomaError
from somagent.domain.slm.messages import DEAD, REQUESTS, RESPONSES, DeadLetter
from somagent.tests.slm.redis_server import RedisServer
from somagent.tests.slm.waiting import until

GROUP = "group"


@contextlib.asynccontextmanager
async def consuming(
    queue: RedisStreams, handler: Handler, *, name: str = "one", concurrency: int = 4
) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(queue.consume(REQUESTS, GROUP, name, handler, concurrency=concurrency))
    try:
        yield task
    finally:
        await queue.stop(5.0)
        await task


async def dead_letters(redis: Redis) -> list[DeadLetter]:
    entries = cast(list[tuple[bytes, dict[bytes, bytes]]], await redis.xrange(DEAD))
    return [DeadLetter.model_validate_json(fields[b"v"]) for _, fields in entries]


def empty(queue: RedisStreams) -> Callable[[], Awaitable[bool]]:
    async def is_empty() -> bool:
        return await queue.depth(REQUESTS, GROUP) == 0

    return is_empty


async def test_each_message_once_and_nothing_left(queue: RedisStreams, redis: Redis) -> None:
    handled: list[Delivery] = []

    async def handle(delivery: Delivery) -> None:
        handled.append(delivery)

    for number in range(100):
        await queue.publish(REQUESTS, f"key-{number}", b"%d" % number)
    assert await queue.depth(REQUESTS, GROUP) == 100
    async with consuming(queue, handle):
        await until(empty(queue))
    assert sorted(int(delivery.value) for delivery in handled) == list(range(100))
    assert {delivery.attempt for delivery in handled} == {1}
    assert await redis.keys("*") == [REQUESTS.encode()]


async def test_one_key_in_order_one_at_a_time(queue: RedisStreams, redis_server: RedisServer) -> None:
    other = RedisStreams.from_url(redis_server.url, claim_idle_seconds=1.0)
    seen: dict[str, list[int]] = {"a": [], "b": []}
    busy: set[str] = set()
    overlaps = 0

    async def handle(delivery: Delivery) -> None:
        nonlocal overlaps
        overlaps += delivery.key in busy
        busy.add(delivery.key)
        await asyncio.sleep(0.005)
        busy.discard(delivery.key)
        number = int(delivery.value)
        if number % 10 == 3 and delivery.attempt == 1:
            raise RuntimeError("once")
        seen[delivery.key].append(number)

    for number in range(20):
        for key in seen:
            await queue.publish(REQUESTS, key, b"%d" % number)
    async with consuming(queue, handle), consuming(other, handle, name="two"):
        await until(empty(queue))
    await other.close()
    assert overlaps == 0
    assert seen == {"a": list(range(20)), "b": list(range(20))}


async def test_failing_handler_gets_it_again_then_gives_it_up(queue: RedisStreams, redis: Redis) -> None:
    attempts: list[int] = []

    async def handle(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        raise RuntimeError("the record is broken")

    await queue.publish(REQUESTS, "key", b"\xff not utf-8")
    async with consuming(queue, handle):
        await until(empty(queue))
    assert attempts == list(range(1, MAX_DELIVERIES + 1))
    (letter,) = await dead_letters(redis)
    assert letter.reason == "RuntimeError: the record is broken"
    assert (letter.deliveries, letter.value_encoding, letter.key) == (MAX_DELIVERIES, "base64", "key")


async def test_undeliverable_is_given_up_at_once_after_telling(queue: RedisStreams, redis: Redis) -> None:
    told: list[tuple[bytes, str]] = []

    async def handle(delivery: Delivery) -> None:
        raise Undeliverable("no request")

    async def bury(delivery: Delivery, reason: str) -> None:
        told.append((delivery.value, reason))
        if len(told) == 1:
            raise RuntimeError("not yet")

    await queue.publish(REQUESTS, "key", b"{}")
    task = asyncio.create_task(queue.consume(REQUESTS, GROUP, "one", handle, on_dead=bury))
    await until(empty(queue))
    await queue.stop()
    await task
    assert told == [(b"{}", "no request")] * 2
    assert [letter.reason for letter in await dead_letters(redis)] == ["no request"]


async def test_postponing_does_not_count(queue: RedisStreams, redis: Redis) -> None:
    attempts: list[int] = []

    async def handle(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) <= MAX_DELIVERIES + 2:
            raise Postponed(0.05)

    await queue.publish(REQUESTS, "key", b"x")
    async with consuming(queue, handle):
        await until(empty(queue))
    assert attempts == [1] * (MAX_DELIVERIES + 3)
    assert await dead_letters(redis) == []


async def test_long_handler_keeps_its_message(queue: RedisStreams, redis_server: RedisServer) -> None:
    other = RedisStreams.from_url(redis_server.url, claim_idle_seconds=1.0)
    handled: list[int] = []

    async def handle(delivery: Delivery) -> None:
        await asyncio.sleep(3.5)
        handled.append(delivery.attempt)

    await queue.publish(REQUESTS, "key", b"x")
    async with consuming(queue, handle), consuming(other, handle, name="two"):
        await until(empty(queue))
    await other.close()
    assert handled == [1]


async def test_stop_finishes_what_is_in_hand(queue: RedisStreams) -> None:
    begun, handled = asyncio.Event(), []

    async def handle(delivery: Delivery) -> None:
        begun.set()
        await asyncio.sleep(0.5)
        handled.append(delivery.value)

    await queue.publish(REQUESTS, "key", b"in hand")
    async with consuming(queue, handle, concurrency=1):
        await begun.wait()
        await queue.publish(REQUESTS, "other", b"later")
    assert handled == [b"in hand"]
    assert await queue.depth(REQUESTS, GROUP) == 1


async def test_stop_gives_back_what_takes_too_long(queue: RedisStreams, redis_server: RedisServer) -> None:
    begun = asyncio.Event()

    async def never_ends(delivery: Delivery) -> None:
        begun.set()
        await asyncio.sleep(3600)

    await queue.publish(REQUESTS, "key", b"x")
    task = asyncio.create_task(queue.consume(REQUESTS, GROUP, "one", never_ends))
    await begun.wait()
    await queue.stop(0.1)
    await task

    attempts: list[int] = []

    async def handle(delivery: Delivery) -> None:
        attempts.append(delivery.attempt)

    other = RedisStreams.from_url(redis_server.url, claim_idle_seconds=1.0)
    async with consuming(other, handle, name="two"):
        await until(empty(other))
    await other.close()
    assert attempts == [1]


async def test_wiped_redis_is_set_up_again(queue: RedisStreams, redis_server: RedisServer) -> None:
    handled: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        handled.append(delivery.value)

    async with consuming(queue, handle):
        await queue.publish(REQUESTS, "a", b"before")
        await until(empty(queue))
        redis_server.wipe()
        await queue.publish(REQUESTS, "b", b"after")
        await until(empty(queue))
    assert handled == [b"before", b"after"]


async def test_wiped_under_a_handler(queue: RedisStreams, redis_server: RedisServer) -> None:
    begun, go_on, handled = asyncio.Event(), asyncio.Event(), []

    async def handle(delivery: Delivery) -> None:
        begun.set()
        await go_on.wait()
        handled.append(delivery.value)

    async with consuming(queue, handle):
        await queue.publish(REQUESTS, "same", b"first")
        await begun.wait()
        redis_server.wipe()
        await queue.publish(REQUESTS, "same", b"second")
        go_on.set()
        await until(empty(queue))
    assert handled == [b"first", b"second"]


async def test_restarted_redis_goes_on(queue: RedisStreams, redis_server: RedisServer) -> None:
    handled: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        handled.append(delivery.value)

    async with consuming(queue, handle):
        await queue.publish(REQUESTS, "a", b"before")
        await until(empty(queue))
        redis_server.kill()
        with pytest.raises(SomaError) as raised:
            await queue.publish(REQUESTS, "b", b"lost")
        assert (raised.value.code, raised.value.retryable) == (Code.REDIS_UNAVAILABLE, True)
        redis_server.start()
        await queue.publish(REQUESTS, "c", b"after")
        await until(empty(queue))
    assert handled == [b"before", b"after"]


async def test_log_topics_are_trimmed(redis_server: RedisServer, redis: Redis) -> None:
    queue = RedisStreams(Redis.from_url(redis_server.url), kept={RESPONSES: 100, DEAD: 100})
    for number in range(1000):
        await queue.publish(RESPONSES, f"key-{number}", b"x")
    await queue.close()
    assert await redis.xlen(RESPONSES) < 300
    assert await redis.keys("*") == [RESPONSES.encode()]


@contextlib.contextmanager
def consumer_process(server: RedisServer, name: str, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    script = Path(__file__).with_name("queue_process.py")
    process = subprocess.Popen([sys.executable, str(script), server.url, name, str(seconds)])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def notes(redis: Redis, kind: str) -> list[list[str]]:
    return [note.decode().split(":") for note in cast(list[bytes], await redis.lrange(kind, 0, -1))]


async def test_killed_consumers_messages_are_taken_over(
    queue: RedisStreams, redis_server: RedisServer, redis: Redis
) -> None:
    for number in range(3):
        await queue.publish(REQUESTS, "session", b"s%d" % number)
    await queue.publish(REQUESTS, "other", b"o")
    with consumer_process(redis_server, "killed", 3600) as killed:
        await until(lambda: _count(redis, "begun", 2))
        killed.kill()
        killed.wait()
        with consumer_process(redis_server, "survivor", 0):
            await until(empty(queue))
    handled = await notes(redis, "handled")
    assert {name for name, _, _ in handled} == {"survivor"}
    assert sorted((value, attempt) for _, value, attempt in handled) == [
        ("o", "2"), ("s0", "2"), ("s1", "1"), ("s2", "1")
    ]  # fmt: skip
    assert [value for _, value, _ in handled if value != "o"] == ["s0", "s1", "s2"]


async def test_message_that_kills_its_consumer_is_given_up(
    queue: RedisStreams, redis_server: RedisServer, redis: Redis
) -> None:
    await queue.publish(REQUESTS, "key", b"poison")
    for attempt in range(1, MAX_DELIVERIES + 1):
        with consumer_process(redis_server, f"victim-{attempt}", 3600):
            await until(functools.partial(_count, redis, "begun", attempt))
    with consumer_process(redis_server, "last", 0):
        await until(empty(queue))
    assert await notes(redis, "handled") == []
    (letter,) = await dead_letters(redis)
    assert letter.reason == "the process that handled it ended in the middle"


async def test_two_processes_share_and_stop_gracefully(
    queue: RedisStreams, redis_server: RedisServer, redis: Redis
) -> None:
    for number in range(60):
        await queue.publish(REQUESTS, f"key-{number}", b"%d" % number)
    with consumer_process(redis_server, "one", 0.1) as one, consumer_process(redis_server, "two", 0.1) as two:
        await until(lambda: _count(redis, "handled", 20))
        one.terminate()
        assert one.wait(20) == 0
        await until(empty(queue))
        two.terminate()
        assert two.wait(20) == 0
    handled = await notes(redis, "handled")
    assert sorted(int(value) for _, value, _ in handled) == list(range(60))
    assert {name for name, _, _ in handled} == {"one", "two"}
    assert {attempt for _, _, attempt in handled} == {"1"}
    assert await redis.xinfo_consumers(REQUESTS, GROUP) == []


async def _count(redis: Redis, kind: str, wanted: int) -> bool:
    return int(await redis.llen(kind)) >= wanted


async def test_events_that_nobody_takes_do_not_pile_up(queue: RedisStreams, redis: Redis) -> None:
    async with redis.pipeline(transaction=False) as pipeline:
        for _ in range(12_000):
            pipeline.xadd("agent.audit", {"k": "key", "v": b"{}"})
        await pipeline.execute()
    await queue.publish("agent.audit", "key", b"{}")
    assert await redis.xlen("agent.audit") < 11_000
    assert await redis.keys("agent.audit:*") == []

"""Waking those who watch something. Only a hint: what happened lies in Postgres; a missed one costs a short wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 0.05
_AGAIN_SECONDS: Final = 1.0


def job_channel(job_id: object) -> str:
    """Where a job's changes are told."""
    return f"soma:job:{job_id}"


def session_channel(session_id: object) -> str:
    """Where a session's changes are told."""
    return f"soma:session:{session_id}"


def slm_channel(request_id: str) -> str:
    """Where the answer to a model request is told."""
    return f"soma:slm:{request_id}"


class Wakeups:
    """Publishes what has changed, gathered over a few milliseconds into one round trip."""

    def __init__(self, redis: Redis | None) -> None:
        self._redis = redis
        self._changed: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def job_changed(self, job_id: str) -> None:
        """Tell watchers of ``job_id`` soon; never waits, never fails."""
        self.changed(job_channel(job_id))

    def session_changed(self, session_id: str) -> None:
        """Tell watchers of ``session_id`` soon; never waits, never fails."""
        self.changed(session_channel(session_id))

    def changed(self, channel: str) -> None:
        """Tell the watchers of a channel soon; never waits, never fails."""
        if self._redis is None:
            return
        self._changed.add(channel)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._publish_soon())

    async def now(self, channel: str) -> None:
        """Tell the watchers of a channel at once; never fails."""
        if self._redis is not None:
            await self._publish({channel})

    async def _publish_soon(self) -> None:
        while self._changed:
            await asyncio.sleep(PAUSE_SECONDS)
            channels, self._changed = self._changed, set()
            await self._publish(channels)

    async def _publish(self, channels: set[str]) -> None:
        assert self._redis is not None  # noqa: S101 - the callers have looked
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for channel in channels:
                    pipeline.publish(channel, b"")
                await pipeline.execute()
        except (RedisError, OSError) as error:
            log.debug("wakeup_not_published", error=repr(error))


@asynccontextmanager
async def heard(redis: Redis, channel: str) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever the channel is told of; without Redis it never is, so look now and then as well."""
    changed = asyncio.Event()
    listening = asyncio.create_task(_listen(redis, channel, changed))
    try:
        yield changed
    finally:
        while not listening.done():  # a cancellation can get lost in the driver, in the moment a message comes
            listening.cancel()
            await asyncio.wait({listening}, timeout=0.5)


async def _listen(redis: Redis, channel: str, changed: asyncio.Event) -> None:
    while True:
        with suppress(RedisError, OSError):
            async with redis.pubsub() as pubsub:
                await pubsub.subscribe(channel)
                while True:
                    if await pubsub.get_message(ignore_subscribe_messages=True, timeout=5.0) is not None:
                        changed.set()
        await asyncio.sleep(_AGAIN_SECONDS)

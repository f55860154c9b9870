"""The work queue on Redis Streams: what the embedded stack uses."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, Self

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from somagent.adapters.queue.port import Burial, Handler
from somagent.adapters.queue.redis_consumption import Consumption
from somagent.adapters.queue.redis_stream import StreamNames, WorkStream
from somagent.domain.errors import Code, SomaError
from somagent.domain.slm.messages import DEAD, RESPONSES
from somagent.domain.topics import EVENTS

_KEPT: Final[Mapping[str, int]] = dict.fromkeys((RESPONSES, DEAD, *EVENTS), 10_000)


class RedisStreams:
    """A :class:`~somagent.adapters.queue.port.Queue` on one Redis.

    Args:
        redis: a client that answers in bytes. Closed by :meth:`close`.
        claim_idle_seconds: after so long without a sign of life from its owner a message is taken over. The owner
            gives that sign every third of it, however long its handler runs.
        dead_topic: where given-up messages go.
        kept: log topics, with about how many messages each keeps; every other topic is work, kept until it is done.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        claim_idle_seconds: float = 30.0,
        dead_topic: str = DEAD,
        kept: Mapping[str, int] = _KEPT,
    ) -> None:
        self._redis = redis
        self._claim_idle = claim_idle_seconds
        self._dead_topic = dead_topic
        self._kept = dict(kept)
        self._consumptions: set[Consumption] = set()
        self._stopped = False

    @classmethod
    def from_url(cls, url: str, *, claim_idle_seconds: float = 30.0) -> Self:
        """A queue with its own connections."""
        retry = Retry(ExponentialBackoff(cap=0.5, base=0.05), retries=2)
        client = Redis.from_url(url, socket_timeout=10.0, socket_connect_timeout=5.0, retry=retry)
        return cls(client, claim_idle_seconds=claim_idle_seconds)

    async def publish(self, topic: str, key: str, value: bytes) -> None:
        """See :meth:`somagent.adapters.queue.port.Queue.publish`."""
        try:
            if topic in self._kept:
                await self._redis.xadd(topic, {"k": key, "v": value}, maxlen=self._kept[topic], approximate=True)
            else:
                await self._stream(topic, "").publish(key, value)
        except (RedisError, OSError) as error:
            raise _unavailable(f"publish to {topic}", error) from error

    async def consume(
        self,
        topic: str,
        group: str,
        consumer: str,
        handler: Handler,
        *,
        concurrency: int = 1,
        on_dead: Burial | None = None,
    ) -> None:
        """See :meth:`somagent.adapters.queue.port.Queue.consume`."""
        if self._stopped:
            return
        consumption = Consumption(
            self._stream(topic, group), consumer, handler, concurrency, on_dead, claim_idle_seconds=self._claim_idle
        )
        self._consumptions.add(consumption)
        try:
            await consumption.run()
        finally:
            self._consumptions.discard(consumption)

    async def depth(self, topic: str, group: str) -> int:
        """See :meth:`somagent.adapters.queue.port.Queue.depth`. What is finished leaves the stream."""
        try:
            return int(await self._redis.xlen(topic))
        except (RedisError, OSError) as error:
            raise _unavailable(f"depth of {topic}", error) from error

    async def stop(self, grace_seconds: float = 30.0) -> None:
        """See :meth:`somagent.adapters.queue.port.Queue.stop`."""
        self._stopped = True
        await asyncio.gather(*(consumption.stop(grace_seconds) for consumption in list(self._consumptions)))

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()

    def _stream(self, topic: str, group: str) -> WorkStream:
        return WorkStream(
            self._redis, StreamNames(topic, group, self._dead_topic), self._kept.get(self._dead_topic, 10_000)
        )


def _unavailable(what: str, error: Exception) -> SomaError:
    detail = f"Redis did not answer ({what}: {type(error).__name__}). Nothing was promised; try again when it is back."
    return SomaError(Code.REDIS_UNAVAILABLE, detail, retry_after=1.0)

"""Verdicts remembered in Redis: one round trip a look, and never a hindrance when Redis is away."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Final, TypeVar, cast

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

T = TypeVar("T")

TTL_SECONDS: Final = 600
_PATIENCE_SECONDS: Final = 0.75
"""Long enough that a busy machine is not taken for a dead Redis."""
_REST_SECONDS: Final = 2.0
_MOST_KEPT: Final = 20_000
"""Verdicts kept of one tenant; past that its cache begins anew."""


class VerdictCache:
    """A hash a tenant and ten minutes, so that one command empties a tenant's verdicts and no verdict outlives them.

    After a failure Redis is left alone for two seconds, and then asked by one request only until it answers again.
    """

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(
            url,
            socket_timeout=_PATIENCE_SECONDS,
            socket_connect_timeout=_PATIENCE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._rests_until = 0.0
        self._is_away = False

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()

    async def find(self, tenant_id: str, field: str) -> bytes | None:
        """What was kept under ``field``; None where there is nothing, or no Redis."""
        if self._rests_until and not self._may_ask():
            return None
        return await self._tried(cast("Awaitable[bytes | None]", self._redis.hget(_key(tenant_id), field)))

    async def keep(self, tenant_id: str, field: str, value: bytes) -> None:
        """Keep ``value`` until the ten minutes are over."""
        if self._rests_until and not self._may_ask():
            return
        key = _key(tenant_id)
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.hset(key, field, value)
        pipeline.expireat(key, _end())
        pipeline.hlen(key)
        told = await self._tried(pipeline.execute())
        if told is not None and told[-1] > _MOST_KEPT:
            await self.empty(tenant_id)

    async def empty(self, tenant_id: str) -> None:
        """Forget the tenant's verdicts."""
        if not self._rests_until or self._may_ask():
            await self._tried(self._redis.unlink(_key(tenant_id)))

    async def _tried(self, command: Awaitable[T]) -> T | None:
        try:
            answer = await command
        except (RedisError, OSError, TimeoutError) as error:
            if not self._is_away:
                log.warning("verdict_cache_away", error=type(error).__name__)
            self._is_away = True
            self._rests_until = time.monotonic() + _REST_SECONDS
            return None
        self._is_away = False
        self._rests_until = 0.0
        return answer

    def _may_ask(self) -> bool:
        """Whether the rest is over. Whoever asks first is alone: the others go on without."""
        now = time.monotonic()
        if now < self._rests_until:
            return False
        self._rests_until = now + _REST_SECONDS
        return True


def _end() -> int:
    """When the current ten minutes end, in seconds since the epoch."""
    return (int(time.time()) // TTL_SECONDS + 1) * TTL_SECONDS


def _key(tenant_id: str) -> str:
    return f"soma:verdicts:{tenant_id}:{_end()}"

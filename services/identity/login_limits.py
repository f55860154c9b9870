"""How often the open door may be knocked at: by address and by name, counted in Redis over all processes.

While Redis is away nothing is counted here; what is left then is the lock-out after wrong tries, kept in Postgres.
"""

from __future__ import annotations

import hashlib
import time
from typing import Final

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from redis.exceptions import RedisError

from somagent.domain.errors import Code, SomaError

log = structlog.get_logger(__name__)

PER_ADDRESS: Final = 600
"""Times a minute: a whole office may sit behind one address."""
PER_NAME: Final = 60
"""Times a minute."""
_REDIS_SECONDS: Final = 2


class LoginLimits:
    """The limits of one deployment's open endpoints."""

    def __init__(self, redis_url: str) -> None:
        uri = redis_url.replace("unix://", "redis+unix://", 1) if redis_url.startswith("unix://") else redis_url
        storage = RedisStorage(
            f"async+{uri}",
            implementation="redispy",
            socket_timeout=_REDIS_SECONDS,
            socket_connect_timeout=_REDIS_SECONDS,
        )
        self._limiter = MovingWindowRateLimiter(storage)

    async def check(self, address: str, tenant_id: str = "", user_id: str = "") -> None:
        """Count a knock.

        Raises:
            SomaError: ``rate_limited``, with the seconds until there is room.
        """
        await self._count(RateLimitItemPerMinute(PER_ADDRESS, namespace="soma-login-address"), address)
        if user_id:
            name = hashlib.sha256(f"{tenant_id}\0{user_id}".encode()).hexdigest()
            await self._count(RateLimitItemPerMinute(PER_NAME, namespace="soma-login-name"), name)

    async def _count(self, item: RateLimitItem, who: str) -> None:
        try:
            if await self._limiter.hit(item, who):
                return
            window = await self._limiter.get_window_stats(item, who)
        except (RedisError, StorageError, OSError) as error:
            log.warning("login_not_counted", error=repr(error))
            return
        raise SomaError(
            Code.RATE_LIMITED,
            "There were too many logins from here, or under this name. Wait, and keep a token for as long as it holds.",
            retry_after=max(1.0, window.reset_time - time.time()),
        )

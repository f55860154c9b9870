"""How often a tenant's steps may leave the machine: so many a minute by adapter, counted in Redis over all workers.

A step that is over the limit waits; it does not fail, and uses up no attempt. While Redis is away nothing is counted,
and steps go on: the limit is a courtesy to others, not a safeguard of ours.
"""

from __future__ import annotations

import json
import time

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError
from redis.exceptions import RedisError

from somagent.adapters.metrics import tool_adapter_rate_limit_hits_total
from somagent.adapters.settings import Settings
from somagent.domain.actions import ActionSpec
from somagent.domain.errors import Code, SomaError

log = structlog.get_logger(__name__)

PER_MINUTE = 30
"""For an adapter that the operator has set no limit for."""


class RateLimits:
    """The limits of one deployment.

    Raises:
        ValueError: SOMAGENT_RATE_LIMITS is not a JSON object {adapter: whole number above 0}.
    """

    def __init__(self, settings: Settings) -> None:
        self._limits = _limits_from(settings.rate_limits)
        self._limiter = MovingWindowRateLimiter(
            RedisStorage(f"async+{settings.redis_url.get_secret_value()}", implementation="redispy")
        )

    async def check(self, spec: ActionSpec, tenant_id: str) -> None:
        """Count one act of an adapter that leaves the machine.

        Raises:
            SomaError: ``rate_limited``, with the seconds until there is room.
        """
        if not spec.outbound:
            return
        item = RateLimitItemPerMinute(self._limits.get(spec.adapter, PER_MINUTE), namespace="soma")
        try:
            if await self._limiter.hit(item, tenant_id, spec.adapter):
                return
            window = await self._limiter.get_window_stats(item, tenant_id, spec.adapter)
        except (RedisError, StorageError, OSError) as error:
            log.warning("rate_limit_not_counted", error=repr(error))
            return
        tool_adapter_rate_limit_hits_total.labels(spec.adapter).inc()
        raise SomaError(
            Code.RATE_LIMITED,
            f"The adapter {spec.adapter} is used {item.amount} times a minute already; the step waits for its turn.",
            retry_after=max(0.5, window.reset_time - time.time()),
        )


def _limits_from(text: str) -> dict[str, int]:
    if not text:
        return {}
    try:
        limits = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"SOMAGENT_RATE_LIMITS is not JSON: {error}") from error
    if not isinstance(limits, dict) or not all(type(amount) is int and amount > 0 for amount in limits.values()):
        raise ValueError("SOMAGENT_RATE_LIMITS must be a JSON object {adapter: whole number above 0, a minute}")
    return limits

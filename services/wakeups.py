"""Waking those who watch a job. Only a hint: the events lie in Postgres, and a missed hint costs a short wait."""

from __future__ import annotations

import asyncio

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

CHANNEL = "soma:job:{job_id}"
PAUSE_SECONDS = 0.05


class Wakeups:
    """Publishes which jobs have changed, gathered over a few milliseconds into one round trip."""

    def __init__(self, redis: Redis | None) -> None:
        self._redis = redis
        self._changed: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def job_changed(self, job_id: str) -> None:
        """Tell watchers of ``job_id`` soon; never waits, never fails."""
        if self._redis is None:
            return
        self._changed.add(job_id)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._publish())

    async def _publish(self) -> None:
        assert self._redis is not None  # noqa: S101 - job_changed has looked
        while self._changed:
            await asyncio.sleep(PAUSE_SECONDS)
            jobs, self._changed = self._changed, set()
            try:
                async with self._redis.pipeline(transaction=False) as pipeline:
                    for job_id in jobs:
                        pipeline.publish(CHANNEL.format(job_id=job_id), b"")
                    await pipeline.execute()
            except (RedisError, OSError) as error:
                log.debug("wakeup_not_published", error=repr(error))

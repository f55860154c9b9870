"""An SLM consumer in a process of its own: ``consumer_process.py REDIS_URL MODEL_BASE_URL NAME``."""

from __future__ import annotations

import asyncio
import sys

from prometheus_client import CollectorRegistry

from somagent.adapters.queue.redis_streams import RedisStreams
from somagent.adapters.settings import Settings
from somagent.adapters.slm.registry import providers_from
from somagent.tests.slm.redis_sink import RedisSink
from somagent.workers.slm_consumer import SlmConsumer
from somagent.workers.slm_metrics import SlmMetrics


async def main(url: str, base_url: str, name: str) -> None:
    queue = RedisStreams.from_url(url, claim_idle_seconds=1.0)
    providers = providers_from(Settings(SLM_BASE_URL=base_url, SLM_MODEL="tiny-1"))
    await SlmConsumer(queue, providers, RedisSink(url), SlmMetrics(CollectorRegistry()), name=name, concurrency=4).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""A consumer in a process of its own, for tests that kill it: ``queue_process.py URL NAME HANDLING_SECONDS``.

It notes in Redis what it begins (list ``begun``) and has handled (list ``handled``), each as NAME:VALUE:ATTEMPT.
SIGTERM stops it gracefully.
"""

from __future__ import annotations

import asyncio
import signal
import sys

from redis.asyncio import Redis

from somagent.adapters.queue.port import Delivery
from somagent.adapters.queue.redis_streams import RedisStreams
from somagent.domain.slm.messages import REQUESTS


async def main(url: str, name: str, seconds: float) -> None:
    notes = Redis.from_url(url)
    queue = RedisStreams.from_url(url, claim_idle_seconds=1.0)

    async def handle(delivery: Delivery) -> None:
        note = f"{name}:{delivery.value.decode()}:{delivery.attempt}"
        await notes.rpush("begun", note)
        await asyncio.sleep(seconds)
        await notes.rpush("handled", note)

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    consuming = asyncio.create_task(queue.consume(REQUESTS, "group", name, handle, concurrency=4))
    await stopped.wait()
    await queue.stop(10.0)
    await consuming
    await queue.close()
    await notes.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))

"""Signs of life while a step waits for something else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

INTERVAL_SECONDS = 2.0


@asynccontextmanager
async def beating(heartbeat: Callable[[], None]) -> AsyncIterator[None]:
    """Call ``heartbeat`` at once and then every two seconds until the block is left."""

    async def beat() -> None:
        while True:
            heartbeat()
            await asyncio.sleep(INTERVAL_SECONDS)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

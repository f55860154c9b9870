"""Real servers for the tests of models and queue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from somagent.adapters.queue.redis_streams import RedisStreams
from somagent.tests.slm.model_server import ModelServer
from somagent.tests.slm.redis_server import RedisServer


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """An empty redis-server for one test."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def queue(redis_server: RedisServer) -> AsyncIterator[RedisStreams]:
    """A queue that takes messages over after one second."""
    streams = RedisStreams.from_url(redis_server.url, claim_idle_seconds=1.0)
    yield streams
    await streams.stop(0.0)
    await streams.close()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client to look into the server."""
    client = Redis.from_url(redis_server.url)
    yield client
    await client.aclose()


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    """A model server process that answers as a test scripts it."""
    server = ModelServer()
    server.start()
    yield server
    server.stop()

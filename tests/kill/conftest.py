"""Two API processes on one Postgres, without Temporal: what a stop refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.slm.redis_server import RedisServer


@pytest.fixture(scope="session")
def kill_postgres() -> Iterator[PostgresServer]:
    """A migrated Postgres."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def kill_redis() -> Iterator[RedisServer]:
    """A Redis."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def first(
    kill_postgres: PostgresServer, kill_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """An API process."""
    yield from _served(ApiServer(kill_postgres, kill_redis, _folder(tmp_path_factory)))


@pytest.fixture(scope="session")
def second(first: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Another one, on the same servers."""
    yield from _served(ApiServer(first.postgres, first.redis, _folder(tmp_path_factory)))


def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


def _served(server: ApiServer) -> Iterator[ApiServer]:
    server.start()
    for tenant in ("acme", "beta", "gamma"):
        server.issue(tenant)
    yield server
    if server.process is not None and server.process.poll() is None:
        server.stop()

"""One Postgres, one Redis and one API process for all tests of the API's frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.slm.redis_server import RedisServer


@pytest.fixture(scope="session")
def api_postgres() -> Iterator[PostgresServer]:
    """A migrated Postgres."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def api_redis() -> Iterator[RedisServer]:
    """A Redis."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def api(
    api_postgres: PostgresServer, api_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """The API on a real socket."""
    server = ApiServer(api_postgres, api_redis, tmp_path_factory.mktemp("api"))
    server.start()
    for tenant in ("acme", "beta"):
        server.issue(tenant)
    yield server
    assert server.stop() == 0


@pytest.fixture
def client(api: ApiServer) -> Iterator[httpx.Client]:
    """A client that holds every capability of ``*`` for tenant acme."""
    with httpx.Client(base_url=api.url, headers=api.headers(), trust_env=False, timeout=30) as opened:
        yield opened


@pytest.fixture
def nobody(api: ApiServer) -> Iterator[httpx.Client]:
    """A client without a token."""
    with httpx.Client(base_url=api.url, trust_env=False, timeout=30) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    return tmp_path

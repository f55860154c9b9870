"""A Postgres of these tests' own, moderation on it, and the API that reviewers use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count

import httpx
import pytest

from somagent.adapters.postgres.database import Database
from somagent.domain.caller import Caller
from somagent.services.moderation.guard import Moderation
from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.slm.redis_server import RedisServer

_numbers = count(1)


@pytest.fixture(scope="session")
def strikes_postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
async def database(strikes_postgres: PostgresServer) -> AsyncIterator[Database]:
    """Postgres as role soma_app."""
    opened = await Database.open(strikes_postgres.app_url, pool_size=6)
    yield opened
    await opened.close()


@pytest.fixture
def moderation(database: Database) -> Moderation:
    return Moderation(database)


@pytest.fixture
def tenant(strikes_postgres: PostgresServer) -> str:
    """A tenant that no other test has."""
    name = f"house-{next(_numbers)}"
    strikes_postgres.run("INSERT INTO tenants (id, name) VALUES ($1, $1)", name)
    return name


@pytest.fixture
def caller(tenant: str) -> Callable[..., Caller]:
    """``caller(user, *capabilities)``"""

    def make(user: str = "ann", *capabilities: str) -> Caller:
        return Caller(
            user_id=user, tenant_id=tenant, capabilities=frozenset(capabilities or {"*"}), jti="test", exp=2**40
        )

    return make


@pytest.fixture(scope="session")
def strikes_redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def strikes_api(
    strikes_postgres: PostgresServer, strikes_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    server = ApiServer(strikes_postgres, strikes_redis, tmp_path_factory.mktemp("moderation"))
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture
def client(strikes_api: ApiServer, tenant: str) -> Iterator[Callable[..., httpx.Client]]:
    """``client(user, *capabilities)`` of the tenant."""
    opened: list[httpx.Client] = []

    def make(user: str, *capabilities: str) -> httpx.Client:
        headers = strikes_api.headers(tenant, user, *capabilities)
        opened.append(httpx.Client(base_url=strikes_api.url, headers=headers, trust_env=False, timeout=60))
        return opened[-1]

    yield make
    for one in opened:
        one.close()

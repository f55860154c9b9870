"""One Postgres, one Redis and one API process for the tests of policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import httpx
import pytest

from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.slm.redis_server import RedisServer

_numbers = count(1)


@pytest.fixture(scope="session")
def policy_postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def policy_redis() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def policy_api(
    policy_postgres: PostgresServer, policy_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    server = ApiServer(policy_postgres, policy_redis, tmp_path_factory.mktemp("policy"))
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture
def tenant(policy_api: ApiServer) -> str:
    """A tenant that no other test has."""
    name = f"law-{next(_numbers)}"
    assert policy_api.issue(name).returncode == 0
    return name


@pytest.fixture
def ask(policy_api: ApiServer, tenant: str) -> Iterator[httpx.Client]:
    """A client of the tenant with everything that ``*`` holds."""
    with httpx.Client(
        base_url=policy_api.url, headers=policy_api.headers(tenant), trust_env=False, timeout=60
    ) as client:
        yield client


@pytest.fixture
def as_caller(policy_api: ApiServer) -> Iterator[Callable[..., httpx.Client]]:
    """``as_caller(tenant, user, *capabilities)``: a client of somebody else."""
    opened: list[httpx.Client] = []

    def client(tenant: str, user: str, *capabilities: str) -> httpx.Client:
        headers = policy_api.headers(tenant, user, *capabilities)
        opened.append(httpx.Client(base_url=policy_api.url, headers=headers, trust_env=False, timeout=60))
        return opened[-1]

    yield client
    for one in opened:
        one.close()

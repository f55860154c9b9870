"""One Postgres, one Redis and two API processes: what one of them does must be so in the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import httpx
import pytest

from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.slm.redis_server import RedisServer

PASSWORD = "correct horse battery staple"  # noqa: S105 - of users that the tests make
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def identity_postgres() -> Iterator[PostgresServer]:
    """A migrated Postgres."""
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def identity_redis() -> Iterator[RedisServer]:
    """A Redis."""
    server = RedisServer()
    server.start()
    yield server
    server.remove()


def _api(
    postgres: PostgresServer, redis: RedisServer, factory: pytest.TempPathFactory, name: str
) -> Iterator[ApiServer]:
    server = ApiServer(postgres, redis, factory.mktemp(name))
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="session")
def api(
    identity_postgres: PostgresServer, identity_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ApiServer]:
    """The API on a real socket."""
    for server in _api(identity_postgres, identity_redis, tmp_path_factory, "api"):
        for tenant in ("acme", "beta"):
            server.issue(tenant)
        yield server


@pytest.fixture(scope="session")
def other_api(
    api: ApiServer,
    identity_postgres: PostgresServer,
    identity_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ApiServer]:
    """A second process of the same deployment."""
    yield from _api(identity_postgres, identity_redis, tmp_path_factory, "other")


@pytest.fixture
def admin(api: ApiServer) -> Iterator[httpx.Client]:
    """An administrator of tenant acme, who holds everything that ``*`` does."""
    with httpx.Client(base_url=api.url, headers=api.headers("acme", "root"), trust_env=False, timeout=30) as opened:
        yield opened


@pytest.fixture
def nobody(api: ApiServer) -> Iterator[httpx.Client]:
    """A client without a token."""
    with httpx.Client(base_url=api.url, trust_env=False, timeout=30) as opened:
        yield opened


@pytest.fixture
def as_token(api: ApiServer) -> Callable[[str], dict[str, str]]:
    """The header that carries a token."""
    return lambda token: {"Authorization": f"Bearer {token}"}


@pytest.fixture
def new_user(admin: httpx.Client) -> Callable[..., str]:
    """``new_user("job:read", password=...)`` makes a user of acme and answers the id."""

    def make(*capabilities: str, password: str | None = PASSWORD) -> str:
        user_id = f"user-{next(_numbers)}"
        body = {"user_id": user_id, "capabilities": list(capabilities), "password": password}
        answer = admin.post("/v1/users", json=body)
        assert answer.status_code == 201, answer.text
        return user_id

    return make


@pytest.fixture
def log_in(nobody: httpx.Client) -> Callable[..., httpx.Response]:
    """``log_in(user, capabilities=[...], mfa_code=...)``: the answer of the open endpoint."""

    def ask(user: str, **more: object) -> httpx.Response:
        body: dict[str, object] = {"user_id": user, "tenant_id": "acme"}
        if "api_key" not in more:
            body["password"] = PASSWORD
        return nobody.post("/v1/tokens/issue", json=body | more)

    return ask

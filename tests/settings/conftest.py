"""The API on a Postgres of its own, and people of two tenants."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.slm.redis_server import RedisServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API process on a real socket."""
    postgres, redis = PostgresServer(), RedisServer()
    redis.start()
    running = ApiServer(postgres, redis, tmp_path_factory.mktemp("api"))
    running.start()
    for tenant in ("acme", "beta"):
        running.issue(tenant)
    yield running
    running.stop()
    redis.remove()
    postgres.remove()


@pytest.fixture
def acme(server: ApiServer) -> Iterator[httpx.Client]:
    """Somebody of acme with `*`."""
    with person(server) as opened:
        yield opened


@pytest.fixture
def operator(server: ApiServer) -> Iterator[httpx.Client]:
    """Somebody of acme who may act for any tenant."""
    with person(server, "acme", "*", "tenant:any") as opened:
        yield opened


def person(server: ApiServer, tenant: str = "acme", *capabilities: str) -> httpx.Client:
    """A client of ann, of that tenant."""
    headers = server.headers(tenant, "ann", *capabilities)
    return httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=60)


def audited(server: ApiServer, topic: str, object_: str) -> list[tuple[str, str]]:
    """What the audit has of this object on this topic, oldest first: action and detail as text."""
    rows = server.postgres.run(
        "SELECT action, detail::text AS detail FROM ("
        "SELECT 0 AS place, seq AS n, topic, object, action, detail FROM audit_entries UNION ALL "
        "SELECT 1, id, topic, object, action, detail FROM audit_intake) a "
        "WHERE topic = $1 AND object = $2 ORDER BY place, n", topic, object_,
    )  # fmt: skip
    return [(row["action"], row["detail"]) for row in rows]

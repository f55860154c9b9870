"""Redis down: judged without it. Postgres down: no verdict is invented. And the client that fails closed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from somagent.client import ApiError, PolicyRefused, PolicyUnavailable, evaluate_sync
from somagent.deploy.local.ports import free_port
from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.slm.redis_server import RedisServer


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Servers that a test may stop."""
    folder: Path = tmp_path_factory.mktemp("breakable")
    postgres, redis = PostgresServer(), RedisServer()
    redis.start()
    server = ApiServer(postgres, redis, folder)
    server.start()
    assert server.issue("acme").returncode == 0
    yield server
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    redis.remove()
    postgres.remove()


@pytest.fixture
def ask(breakable: ApiServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=breakable.url, headers=breakable.headers(), trust_env=False, timeout=60) as client:
        yield client


def test_redis_down_then_up_again(breakable: ApiServer, ask: httpx.Client) -> None:
    assert ask.get("/v1/health/redis").json() == {"status": "ok"}
    breakable.redis.kill()
    health = ask.get("/v1/health/redis")
    assert (health.status_code, health.json()) == (503, {"status": "unavailable"})
    began = time.monotonic()
    for _ in range(10):
        answer = ask.post("/v1/evaluate", json={"prompt": "without a cache"})
        assert (answer.status_code, answer.json()["cached"]) == (200, False)
    assert time.monotonic() - began < 10, "a dead Redis does not cost its timeout each time"
    breakable.redis.start()
    deadline = time.monotonic() + 20
    while not ask.post("/v1/evaluate", json={"prompt": "with one again"}).json()["cached"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_client_waits_for_a_verdict(breakable: ApiServer) -> None:
    evaluate = partial(evaluate_sync, base_url=breakable.url, token=breakable.token())
    verdict = evaluate("Summarise the minutes", {"risk": 0.1})
    assert verdict
    assert verdict.require_allowed().score == pytest.approx(0.97)
    refused = evaluate("x", {"risk": 1, "confidence": 0})
    assert not refused
    with pytest.raises(PolicyRefused) as caught:
        refused.require_allowed()
    assert caught.value.verdict.decision_id == refused.decision_id
    with pytest.raises(ApiError) as asked_wrongly:
        evaluate("x", {"risk": 7})
    assert asked_wrongly.value.code == "validation_failed"
    with pytest.raises(ApiError):
        evaluate_sync("x", base_url=breakable.url, token="nonsense")
    with pytest.raises(PolicyUnavailable):
        evaluate_sync("x", base_url=f"http://127.0.0.1:{free_port()}", token="t")


def test_postgres_down(breakable: ApiServer, ask: httpx.Client) -> None:
    remembered = {"prompt": "asked before"}
    ask.post("/v1/evaluate", json=remembered)
    breakable.postgres.stop()
    try:
        answer = ask.post("/v1/evaluate", json={"prompt": "asked in vain"})
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert "x-policy-decision" not in answer.headers
        time.sleep(3.5)
        stale = ask.post("/v1/evaluate", json=remembered)
        assert stale.status_code == 503, "nobody knows whether the constitution is still the same"
        with pytest.raises(PolicyUnavailable):
            evaluate_sync("x", base_url=breakable.url, token=breakable.token())
    finally:
        breakable.postgres.start()
    deadline = time.monotonic() + 30
    while ask.post("/v1/evaluate", json={"prompt": "asked again"}).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)

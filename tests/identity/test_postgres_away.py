"""Without Postgres nobody is let in and nobody is told that they are."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.identity.conftest import PASSWORD
from somagent.tests.slm.redis_server import RedisServer


def test_no_token_is_issued_or_revoked(identity_redis: RedisServer, tmp_path: Path) -> None:
    postgres = PostgresServer()
    api = ApiServer(postgres, identity_redis, tmp_path)
    api.start()
    try:
        api.issue("acme")
        headers = api.headers()
        client = httpx.Client(base_url=api.url, trust_env=False, timeout=30)
        body = {"user_id": "zed", "tenant_id": "acme", "password": PASSWORD}
        made = client.post("/v1/users", json={"user_id": "zed", "password": PASSWORD}, headers=headers)
        assert made.status_code == 201
        token = client.post("/v1/tokens/issue", json=body).json()["token"]
        postgres.stop()
        for wait in (0, 4):
            time.sleep(wait)
            for answer in (
                client.post("/v1/tokens/issue", json=body),
                client.post("/v1/tokens/revoke", json={"token": token}, headers=headers),
                client.post("/v1/users", json={"user_id": "yan"}, headers=headers),
                client.get("/v1/users/zed", headers=headers),
                client.post("/v1/training/start", json={"reason": "x"}, headers=headers),
            ):
                problem(answer, 503, "database_unavailable")
                assert int(answer.headers["retry-after"]) >= 1
        postgres.start()
        deadline = time.monotonic() + 30
        while client.post("/v1/tokens/issue", json=body).status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        api.stop()
        postgres.remove()

"""A deployment whose processes are started one by one gets what `somagent up` prepares otherwise."""

from __future__ import annotations

from pathlib import Path

import httpx

from somagent.domain.policy.constitution import DEFAULT_HASH
from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.slm.redis_server import RedisServer


def test_the_api_puts_the_deployments_constitution_in_force(api_redis: RedisServer, folder: Path) -> None:
    postgres = PostgresServer()
    try:
        for statement in ("DISABLE TRIGGER USER", "ENABLE TRIGGER USER"):
            postgres.run(f"ALTER TABLE constitutions {statement}")
            postgres.run("DELETE FROM constitutions" if statement.startswith("DISABLE") else "SELECT 1")
        server = ApiServer(postgres, api_redis, folder)
        server.start()
        try:
            assert [row["hash"] for row in postgres.run("SELECT hash FROM constitutions")] == [DEFAULT_HASH]
            token = server.issue("acme").stdout.splitlines()[-1]
            headers = {"Authorization": f"Bearer {token}"}
            verdict = httpx.post(
                f"{server.url}/v1/tokens/verify", json={"token": token}, headers=headers, trust_env=False
            )
            assert verdict.json()["constitution_hash"] == DEFAULT_HASH
        finally:
            server.stop()
    finally:
        postgres.remove()

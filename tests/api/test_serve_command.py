"""``somagent serve``: one service alone, wrong names, and a start while parts are away."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from somagent.deploy.local.ports import free_port
from somagent.tests.api.servers import ApiServer

SOMAGENT = str(Path(sys.executable).parent / "somagent")


def test_one_service_alone_while_redis_and_temporal_are_away(api: ApiServer) -> None:
    port = free_port()
    process = subprocess.Popen(
        [SOMAGENT, "serve", "jobs", "--port", str(port)],
        env=api.environment | {"REDIS_URL": "redis://127.0.0.1:1/0"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=api.headers(), trust_env=False) as alone:
            deadline = time.monotonic() + 60
            while True:
                try:
                    alone.get("/health").raise_for_status()
                    break
                except httpx.HTTPError:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            assert alone.get("/v1/jobs").status_code == 200
            assert alone.get("/v1/capsules").status_code == 404
            assert alone.get("/metrics").status_code == 200
            checks = alone.get("/ready").json()["checks"]
            assert {name for name, check in checks.items() if check["ok"]} == {"postgres"}
            paths = alone.get("/openapi.json").json()["paths"]
            assert "/v1/jobs" in paths
            assert "/v1/capsules" not in paths
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output.decode()
    assert b"Traceback" not in output


def test_a_service_that_there_is_not(api: ApiServer) -> None:
    done = subprocess.run(
        [SOMAGENT, "serve", "nope"], env=api.environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert "task-capsule-repo" in done.stderr


def test_without_postgres_there_is_nothing_to_serve(api: ApiServer) -> None:
    away = {"SOMAGENT_POSTGRES_APP_URL": "postgresql://soma_app:x@127.0.0.1:1/postgres"}
    done = subprocess.run(
        [SOMAGENT, "serve", "--port", str(free_port())],
        env=api.environment | away, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 3
    assert "Postgres does not answer" in done.stderr
    assert "Traceback" not in done.stderr

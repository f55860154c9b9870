"""Health, readiness and metrics, with parts that are really away."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer

NAMES = (
    "kamachiq_runs_total",
    "kamachiq_run_duration_seconds",
    "kamachiq_governance_block_total",
    "gateway_moderation_decisions_total",
    "gateway_moderation_strikes_total",
    "policy_evaluations_total",
    "policy_evaluation_latency_seconds",
    "slm_infer_sync_requests_total",
    "slm_infer_sync_latency_seconds",
    "slm_queue_depth",
    "tool_adapter_executions_total",
    "tool_adapter_execution_latency_seconds",
    "tool_adapter_rate_limit_hits_total",
    "jobs_requests_total",
    "jobs_by_status",
    "dr_failover_duration_seconds",
    "dr_last_drill_timestamp",
    "memory_backlog",
)


@pytest.fixture
def worker_metrics() -> Iterator[str]:
    """A worker's metrics page, as another process would serve it."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = (
                b"# HELP tool_adapter_executions_total Actions executed\n# TYPE tool_adapter_executions_total counter\n"
                b'tool_adapter_executions_total{adapter="files",action="files.read",status="ok"} 7.0\n'
                b"# HELP temporal_request_total Requests\n# TYPE temporal_request_total counter\n"
                b"temporal_request_total 3\n"
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()


def test_alive(nobody: httpx.Client) -> None:
    answer = nobody.get("/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


def test_ready_names_what_is_away(nobody: httpx.Client) -> None:
    answer = nobody.get("/ready")
    assert answer.status_code == 503
    document = answer.json()
    assert document["status"] == "unavailable"
    assert {name: check["ok"] for name, check in document["checks"].items()} == {
        "postgres": True,
        "redis": True,
        "temporal": False,
    }


def test_every_name_is_exported(nobody: httpx.Client) -> None:
    text = nobody.get("/metrics").text
    announced = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert set(NAMES) <= announced
    assert len(announced) == sum(line.startswith("# TYPE ") for line in text.splitlines())


def test_requests_are_counted_by_template(client: httpx.Client) -> None:
    path = "/v1/attachments/00000000-0000-4000-8000-000000000000"
    before = _counted(client)
    for _ in range(3):
        assert client.get(path).status_code == 404
    client.get("/no/such/path")
    assert _counted(client) == before + 3
    text = client.get("/metrics").text
    assert "00000000-0000" not in text
    assert 'route="unmatched"' in text


def _counted(client: httpx.Client) -> float:
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == "jobs_requests_total" and (
                sample.labels["route"] == "/v1/attachments/{attachment_id}" and sample.labels["status"] == "404"
            ):
                return sample.value
    return 0.0


def test_workers_figures_are_part_of_it(api: ApiServer, nobody: httpx.Client, worker_metrics: str) -> None:
    with redis.Redis.from_url(api.redis.url) as connection:
        connection.set("soma:metrics:activities:4711", worker_metrics, ex=30)
        connection.set("soma:metrics:slm:4712", "http://127.0.0.1:1/metrics", ex=30)
        connection.set("soma:metrics:slm:4713", "not a url", ex=30)
    answer = nobody.get("/metrics")
    assert answer.status_code == 200
    samples = [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    ]
    labels = {"adapter": "files", "action": "files.read", "status": "ok", "process": "activities", "pid": "4711"}
    assert ("tool_adapter_executions_total", labels, 7.0) in samples
    assert ("temporal_request_total", {"process": "activities", "pid": "4711"}, 3.0) in samples


def test_jobs_by_status(api: ApiServer, nobody: httpx.Client) -> None:
    text = nobody.get("/metrics").text
    for status in ("queued", "running", "waiting", "paused", "completed", "failed", "cancelled", "killed"):
        assert f'status="{status}"' in text


def test_redis_away_and_back(api: ApiServer, nobody: httpx.Client) -> None:
    assert (nobody.get("/v1/health/redis").status_code, nobody.get("/v1/health/redis").json()) == (
        200,
        {"status": "ok"},
    )
    api.redis.kill()
    try:
        answer = nobody.get("/v1/health/redis")
        assert (answer.status_code, answer.json()) == (503, {"status": "unavailable"})
        assert not nobody.get("/ready").json()["checks"]["redis"]["ok"]
        assert nobody.get("/metrics").status_code == 200
    finally:
        api.redis.start()
    assert nobody.get("/v1/health/redis").status_code == 200


def test_postgres_away_and_back(api: ApiServer, client: httpx.Client) -> None:
    assert client.get("/v1/probe/things").status_code == 200
    api.postgres.stop()
    try:
        for _ in range(3):
            for path in ("/v1/probe/things", "/v1/attachments"):
                answer = client.get(path)
                problem(answer, 503, "database_unavailable")
                assert int(answer.headers["retry-after"]) >= 1
            for path in ("/v1/probe/things", "/v1/probe/fast"):
                answer = client.post(path, json={"message": "x"}, headers={"Idempotency-Key": "away"})
                problem(answer, 503, "database_unavailable")
        assert client.get("/health").status_code == 200
        assert not client.get("/ready").json()["checks"]["postgres"]["ok"]
        assert client.get("/metrics").status_code == 200
    finally:
        api.postgres.start()
    deadline = time.monotonic() + 20
    while client.get("/v1/probe/things").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    for path in ("/v1/probe/things", "/v1/probe/fast"):
        assert client.post(path, json={"message": "x"}).status_code == 201

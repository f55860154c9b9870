"""Memory over HTTP, on a real API process."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.slm.redis_server import RedisServer


@pytest.fixture(scope="module")
def api(memory_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    redis = RedisServer()
    redis.start()
    server = ApiServer(memory_postgres, redis, tmp_path_factory.mktemp("api"))
    server.start()
    yield server
    assert server.stop() == 0
    redis.remove()


@pytest.fixture
def client(api: ApiServer, tenant: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.url, headers=api.headers(tenant), trust_env=False, timeout=30) as opened:
        yield opened


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_a_memorys_whole_life(client: httpx.Client, prefix: str) -> None:
    body = {"key": "ports/north", "text": "The north port closes at dusk.", "tags": ["port"], "namespace": "sea"}
    kept = client.post(f"{prefix}/remember", json=body)
    assert kept.status_code == 201
    memory_id = kept.json()["memory_id"]
    assert kept.json() == {"memory_id": memory_id, "key": "ports/north"}

    found = client.post(f"{prefix}/recall", json={"query": "When does the port close?", "filters": {"tags": ["port"]}})
    assert found.status_code == 200
    (item,) = found.json()["items"]
    assert (item["memory_id"], item["score"]) == (memory_id, 1.0)
    assert item["provenance"]["source"] == "api"
    assert item["provenance"]["created_by"] == "ann"
    assert client.get(f"{prefix}/recall/ports/north", params={"namespace": "sea"}).json() == item
    assert client.get(f"{prefix}/recall/ports/north").json() == item

    answer = client.post(f"{prefix}/rag/retrieve", json={"query": "When does the north port close?"}).json()
    assert answer["answer"] == "The north port closes at dusk. [1]"
    assert [source["memory_id"] for source in answer["sources"]] == [memory_id]

    assert client.delete(f"{prefix}/memories/{memory_id}").status_code == 204
    gone = client.delete(f"{prefix}/memories/{memory_id}")
    assert (gone.status_code, gone.json()["code"]) == (404, "memory_not_found")
    assert client.get(f"{prefix}/recall/ports/north").status_code == 404
    nothing = client.post(f"{prefix}/rag/retrieve", json={"query": "When does the north port close?"}).json()
    assert nothing["sources"] == []
    assert nothing["answer"].startswith("Nothing that is remembered fits")


def test_remembering_is_idempotent(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "once"}
    first = client.post("/v1/remember", json={"text": "a"}, headers=headers)
    again = client.post("/v1/remember", json={"text": "a"}, headers=headers)
    other = client.post("/v1/remember", json={"text": "b"}, headers=headers)
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("path", "body", "faulty"),
    [
        ("/remember", {}, None),
        ("/remember", {"text": "x", "namespace": "/no"}, "body.namespace"),
        ("/remember", {"text": "x", "colour": 1}, "body.colour"),
        ("/remember", {"text": "x" * 200_001}, "body.text"),
        ("/recall", {"query": "x", "limit": 0}, "body.limit"),
        ("/recall", {"query": "x", "limit": 101}, "body.limit"),
        ("/recall", {"query": "x", "filters": {"tag": "y"}}, "body.filters.tag"),
        ("/rag/retrieve", {"query": "x", "limit": 51}, "body.limit"),
    ],
)
def test_bad_input_names_its_fault(client: httpx.Client, path: str, body: object, faulty: str | None) -> None:
    refused = client.post(path, json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "validation_failed")
    if faulty is not None:
        assert faulty.removeprefix("body.") in {
            fault["path"].removeprefix("body.") for fault in refused.json()["errors"]
        }


def test_each_way_needs_its_capability(api: ApiServer, tenant: str) -> None:
    read = api.headers(tenant, "ann", "memory:read")
    write = api.headers(tenant, "ann", "memory:write")
    with httpx.Client(base_url=api.url, trust_env=False) as client:
        assert client.post("/remember", json={"text": "x"}).status_code == 401
        assert client.post("/remember", json={"text": "x"}, headers=read).json()["code"] == "capability_missing"
        assert client.post("/recall", json={"query": "x"}, headers=write).status_code == 403
        assert client.get("/recall/x", headers=write).status_code == 403
        assert client.post("/rag/retrieve", json={"query": "x"}, headers=write).status_code == 403
        assert client.post("/remember", json={"text": "x"}, headers=write).status_code == 201
        assert client.post("/recall", json={"query": "x"}, headers=read).status_code == 200


def test_another_tenants_memories_are_not_there(api: ApiServer, client: httpx.Client) -> None:
    memory_id = client.post("/remember", json={"text": "The vault's code is 4711.", "key": "vault"}).json()["memory_id"]
    with httpx.Client(base_url=api.url, headers=api.headers("stranger"), trust_env=False) as stranger:
        assert stranger.post("/recall", json={"query": "vault code"}).json() == {"items": []}
        assert stranger.get("/recall/vault").status_code == 404
        assert stranger.delete(f"/memories/{memory_id}").status_code == 404
    assert client.get("/recall/vault").status_code == 200

"""Model profiles: every method, every change audited, the default kept."""

from __future__ import annotations

import httpx

from somagent.tests.api.servers import ApiServer
from somagent.tests.settings.conftest import audited, person

PATH = "/v1/tenants/acme/model-profiles"


def test_a_profile_from_its_making_to_its_end(server: ApiServer, acme: httpx.Client) -> None:
    new = {
        "name": "careful",
        "chat": {
            "model": "large-1", "fallbacks": ["medium-1", "small-1"],
            "parameters": {"temperature": 0.2, "max_tokens": 800},
            "constraints": {"max_cost": 0.02, "max_latency_ms": 3000, "min_quality": 0.8},
        },
        "code": "coder-1",
        "roles": {"summarization": "small-1"},
    }  # fmt: skip
    made = acme.post(PATH, json=new, headers={"Idempotency-Key": "careful"})
    assert made.status_code == 201, made.text
    assert made.headers["location"] == f"{PATH}/careful"
    kept = made.json()
    assert kept["chat"] == new["chat"]
    assert (kept["code"]["model"], kept["code"]["fallbacks"], kept["planning"]) == ("coder-1", [], None)
    assert kept["roles"]["summarization"]["model"] == "small-1"
    assert kept["is_default"] is False
    assert acme.get(f"{PATH}/careful").json() == kept
    assert acme.post(PATH, json=new, headers={"Idempotency-Key": "careful"}).headers["idempotent-replayed"] == "true"
    again = acme.post(PATH, json={"name": "careful", "chat": "other"})
    assert (again.status_code, again.json()["code"]) == (409, "profile_exists")
    changed = acme.put(f"{PATH}/careful", json={"chat": "large-2"}).json()
    assert (changed["chat"]["model"], changed["code"]) == ("large-2", None)
    assert changed["updated_at"] > changed["created_at"]
    assert acme.delete(f"{PATH}/careful").status_code == 204
    assert acme.get(f"{PATH}/careful").status_code == 404
    assert acme.delete(f"{PATH}/careful").status_code == 404
    assert acme.put(f"{PATH}/careful", json={"chat": "x"}).status_code == 404
    told = audited(server, "settings.changed", "model_profile:careful")
    assert [action for action, _ in told] == [f"model_profile.{done}" for done in ("created", "changed", "deleted")]
    assert '"large-1"' in told[1][1]
    assert '"large-2"' in told[1][1]


def test_one_default(acme: httpx.Client) -> None:
    for name in ("first", "second"):
        acme.post(PATH, json={"name": name, "chat": name})
    assert acme.post(f"{PATH}/first/default").json()["is_default"] is True
    refused = acme.delete(f"{PATH}/first")
    assert (refused.status_code, refused.json()["code"]) == (409, "profile_in_use")
    assert acme.post(f"{PATH}/second/default").status_code == 200
    items = {item["name"]: item["is_default"] for item in acme.get(PATH).json()["items"]}
    assert items == {"first": False, "second": True}
    assert acme.delete(f"{PATH}/first").status_code == 204
    assert acme.post(f"{PATH}/first/default").status_code == 404


def test_every_fault_at_once(acme: httpx.Client) -> None:
    answer = acme.post(
        PATH,
        json={
            "name": "a b",
            "chat": {
                "model": "m",
                "parameters": {"temperature": 3, "max_tokens": 0},
                "constraints": {"min_quality": 2},
            },
            "planning": "",
            "roles": {"poetry": "m"},
            "video": "m",
        },
    )
    assert answer.status_code == 422
    paths = " ".join(fault["path"] for fault in answer.json()["errors"])
    for part in ("name", "temperature", "max_tokens", "min_quality", "planning", "poetry", "video"):
        assert part in paths, paths
    for wrong in (
        {},
        {"chat": {"model": "m", "fallbacks": ["m"]}},
        {"chat": "m", "roles": {"dialogue_reasoning": "n"}},
    ):
        assert acme.post(PATH, json={"name": "x", **wrong}).status_code == 422, wrong


def test_tenants_apart_and_capabilities(server: ApiServer, acme: httpx.Client, operator: httpx.Client) -> None:
    acme.post(PATH, json={"name": "ours", "chat": "m"})
    with person(server, "beta") as other:
        for answer in (other.get(PATH), other.get(f"{PATH}/ours"), other.post(PATH, json={"name": "n", "chat": "m"})):
            assert answer.status_code == 404
    assert operator.get("/v1/tenants/beta/model-profiles").json()["items"] == []
    with person(server, "acme", "settings:read") as reader:
        assert reader.get(f"{PATH}/ours").status_code == 200
        assert reader.delete(f"{PATH}/ours").status_code == 403
    assert acme.get(f"{PATH}/a%00b").status_code == 404


def test_training_locks_profiles(server: ApiServer, acme: httpx.Client) -> None:
    acme.post(PATH, json={"name": "locked", "chat": "m"})
    headers = server.headers("acme", "tess", "training:manage", "settings:write")
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as trainer:
        assert trainer.post("/v1/training/start", json={"reason": "new rules"}).status_code == 201
        try:
            refused = acme.put(f"{PATH}/locked", json={"chat": "n"})
            assert (refused.status_code, refused.json()["code"]) == (409, "training_locked")
            assert trainer.put(f"{PATH}/locked", json={"chat": "n"}).status_code == 200
        finally:
            trainer.post("/v1/training/stop")
    assert acme.put(f"{PATH}/locked", json={"chat": "o"}).status_code == 200

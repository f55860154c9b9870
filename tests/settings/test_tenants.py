"""Tenants: made, read, changed, and kept apart."""

from __future__ import annotations

import httpx
import pytest

from somagent.domain.modes import DeploymentMode
from somagent.tests.api.servers import ApiServer
from somagent.tests.settings.conftest import audited, person


def test_ones_own_tenant(acme: httpx.Client) -> None:
    (only,) = acme.get("/v1/tenants").json()["items"]
    assert (only["id"], only["daily_tokens"], only["review_quorum"], only["constitution_quorum"]) == (
        "acme", 1_000_000, 1, 2,
    )  # fmt: skip
    assert acme.get("/v1/tenants/acme").json() == only
    for path in ("beta", "nobody", "a%00b", "x" * 100):
        assert acme.get(f"/v1/tenants/{path}").status_code == 404, path
        assert acme.put(f"/v1/tenants/{path}", json={"name": "mine"}).status_code == 404, path


def test_a_tenant_is_made_once(server: ApiServer, acme: httpx.Client, operator: httpx.Client) -> None:
    new = {"id": "gamma", "name": "Gamma Ltd", "daily_tokens": 5000, "residency": ["eu"]}
    refused = acme.post("/v1/tenants", json=new)
    assert (refused.status_code, refused.json()["code"]) == (403, "capability_missing")
    made = operator.post("/v1/tenants", json=new, headers={"Idempotency-Key": "gamma-1"})
    assert made.status_code == 201, made.text
    assert made.headers["location"] == "/v1/tenants/gamma"
    assert {name: made.json()[name] for name in new} == new
    again = operator.post("/v1/tenants", json=new, headers={"Idempotency-Key": "gamma-1"})
    assert (again.status_code, again.headers["idempotent-replayed"], again.json()) == (201, "true", made.json())
    twice = operator.post("/v1/tenants", json=new)
    assert (twice.status_code, twice.json()["code"]) == (409, "tenant_exists")
    assert {item["id"] for item in operator.get("/v1/tenants").json()["items"]} >= {"acme", "beta", "gamma"}
    page = operator.get("/v1/tenants", params={"limit": 1}).json()
    assert len(page["items"]) == 1
    assert page["next_cursor"]
    with person(server, "gamma") as theirs:
        capsules = theirs.get("/v1/installations").json()["items"]
        assert len(capsules) >= 8
    assert audited(server, "settings.changed", "tenant:gamma")[0][0] == "tenant.created"


def test_changes_are_audited_with_old_and_new(server: ApiServer, operator: httpx.Client) -> None:
    before = operator.get("/v1/tenants/beta").json()
    changed = operator.put("/v1/tenants/beta", json={"daily_tokens": 7, "constitution_quorum": 3, "residency": ["de"]})
    assert changed.status_code == 200, changed.text
    assert changed.json() == {**before, "daily_tokens": 7, "constitution_quorum": 3, "residency": ["de"]}
    assert operator.get("/v1/tenants/beta").json() == changed.json()
    told = audited(server, "settings.changed", "tenant:beta")
    operator.put("/v1/tenants/beta", json={"daily_tokens": 7})
    assert audited(server, "settings.changed", "tenant:beta") == told, "nothing changed"
    action, detail = told[-1]
    assert action == "tenant.changed"
    assert '"daily_tokens": 1000000' in detail
    assert '"daily_tokens": 7' in detail
    operator.put("/v1/tenants/beta", json={"allowed_adapters": ["files"]})
    assert operator.put("/v1/tenants/beta", json={"allowed_adapters": ["*"]}).json()["allowed_adapters"] == ["*"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"daily_tokens": -1}, {"review_quorum": 0}, {"constitution_quorum": 21}, {"deployment_mode": "test"},
        {"name": " "}, {"residency": "de"}, {"plan": "gold"},
    ],
)  # fmt: skip
def test_faults(acme: httpx.Client, wrong: dict[str, object]) -> None:
    answer = acme.put("/v1/tenants/acme", json={**wrong, "surplus": 1})
    assert answer.status_code == 422
    paths = {fault["path"] for fault in answer.json()["errors"]}
    assert len(paths) == 2, answer.text


def test_who_may(server: ApiServer) -> None:
    with person(server, "acme", "settings:read") as reader:
        assert reader.get("/v1/tenants/acme").status_code == 200
        assert reader.put("/v1/tenants/acme", json={}).status_code == 403
        assert reader.put("/v1/tenants/acme/deployment-mode", json={"mode": "test"}).status_code == 403
    with person(server, "acme", "job:read") as stranger:
        assert stranger.get("/v1/tenants").status_code == 403


def test_modes_change_the_threshold_the_weights_and_the_logging(server: ApiServer, acme: httpx.Client) -> None:
    path = "/v1/tenants/acme/deployment-mode"
    usual = acme.get(path).json()
    assert (usual["mode"], usual["chosen"], usual["threshold"]) == ("developer-light", False, 0.7)
    assert usual["routing_weights"] == {"quality": 0.25, "cost": 0.4, "latency": 0.25, "reliability": 0.1}
    question = {
        "session_id": "s", "tenant": "acme", "user": "ann", "prompt": "hello", "role": "dialogue_reasoning",
        "metadata": {"risk": 0.9},
    }  # fmt: skip
    assert acme.post("/v1/evaluate", json=question).json()["allowed"] is True
    strict = acme.put(path, json={"mode": "production-debug", "reason": "going live"}).json()
    assert (strict["threshold"], strict["production"], strict["verdict_logging"]) == (0.8, True, "every")
    assert strict["routing_weights"] == {"quality": 0.45, "cost": 0.1, "latency": 0.15, "reliability": 0.3}
    verdict = acme.post("/v1/evaluate", json=question).json()
    assert (verdict["allowed"], verdict["threshold"]) == (False, 0.8)
    assert acme.get("/v1/tenants/acme").json()["deployment_mode"] == "production-debug"
    with person(server, "beta") as other:
        assert other.get("/v1/tenants/beta/deployment-mode").json()["threshold"] == 0.7
    acme.put(path, json={"mode": "production-debug"})
    assert acme.put(path, json={"mode": "test"}).json()["threshold"] == 0.7
    assert [action for action, _ in audited(server, "mode.changed", "tenant:acme")] == ["mode.changed"] * 2
    assert "going live" in audited(server, "mode.changed", "tenant:acme")[0][1]
    assert acme.put(path, json={"mode": "chaos"}).status_code == 422
    acme.put(path, json={"mode": "developer-light"})


def test_what_each_mode_means() -> None:
    assert {mode: (mode.is_production, mode.verdict_logging, mode.log_level) for mode in DeploymentMode} == {
        DeploymentMode.DEVELOPER_LIGHT: (False, "refusals", "info"),
        DeploymentMode.DEVELOPER_FULL: (False, "every", "debug"),
        DeploymentMode.TEST: (False, "refusals", "info"),
        DeploymentMode.TEST_DEBUG: (False, "every", "debug"),
        DeploymentMode.PRODUCTION: (True, "refusals", "warning"),
        DeploymentMode.PRODUCTION_DEBUG: (True, "every", "debug"),
    }
    for mode in DeploymentMode:
        assert sum(mode.routing_weights.model_dump().values()) == pytest.approx(1)


def test_debugging_modes_log_every_verdict_with_its_features(server: ApiServer, acme: httpx.Client) -> None:
    path = "/v1/tenants/acme/deployment-mode"

    def logged(prompt: str, risk: float) -> list[str]:
        before = len(server.log_file.read_text())
        question = {
            "session_id": "s", "tenant": "acme", "user": "ann", "prompt": prompt, "role": "dialogue_reasoning",
            "metadata": {"risk": risk, "confidence": 1 - risk},
        }  # fmt: skip
        assert acme.post("/v1/evaluate", json=question).status_code == 200
        lines = server.log_file.read_text()[before:].splitlines()
        return [line for line in lines if '"policy_verdict"' in line and '"contribution"' in line]

    assert logged("quiet", 0) == []
    assert len(logged("refused", 1)) == 1
    acme.put(path, json={"mode": "test-debug"})
    (first,) = logged("loud", 0)
    assert '"tenant": "acme"' in first
    assert "loud" not in first, "prompts stay out of logs"
    assert len(logged("loud", 0)) == 1, "a remembered verdict too"
    with person(server, "beta") as other:
        other.get("/v1/tenants")
    acme.put(path, json={"mode": "developer-light"})
    assert logged("loud", 0) == []

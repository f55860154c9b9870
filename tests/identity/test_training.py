"""Training locks: one a tenant, and nobody else changes what agents are made of meanwhile."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer

START, STOP = "/v1/training/start", "/v1/training/stop"
INSTALL = {"capsule_id": "document_brief", "environment": "somewhere"}


def test_a_session(api: ApiServer, other_api: ApiServer, nobody: httpx.Client) -> None:
    tom = api.headers("acme", "tom", "training:manage", "capsule:install")
    una = api.headers("acme", "una", "training:manage", "capsule:install", "capsule:read", "policy:write")
    problem(nobody.post(STOP, headers=tom), 409, "training_not_active")
    assert nobody.get("/v1/training/acme", headers=tom).json()["active"] is False
    made = nobody.post(START, json={"reason": "new prompts"}, headers=tom)
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/training/acme"
    assert (made.json()["active"], made.json()["started_by"]) == (True, "tom")
    problem(nobody.post(START, json={"reason": "mine"}, headers=una), 409, "training_locked")
    problem(nobody.post(START, json={"reason": "again"}, headers=tom), 409, "training_locked")
    problem(nobody.post("/v1/installations", json=INSTALL, headers=una), 409, "training_locked")
    rule = {"name": "r", "pattern": "p", "weight": 0.1}
    problem(nobody.post("/v1/policies/acme/rules", json=rule, headers=una), 409, "training_locked")
    problem(nobody.put("/v1/policies/acme", json={"rules": [rule]}, headers=una), 409, "training_locked")
    nowhere = "00000000-0000-7000-8000-000000000000"
    for method, path in (("POST", "/upgrade"), ("POST", "/rollback"), ("DELETE", "")):
        refused = nobody.request(method, f"/v1/installations/{nowhere}{path}", headers=una)
        problem(refused, 409, "training_locked")
        assert nobody.request(method, f"/v1/installations/{nowhere}{path}", headers=tom).status_code == 404
    time.sleep(1)
    with httpx.Client(base_url=other_api.url, trust_env=False) as other:
        problem(other.post("/v1/installations", json=INSTALL, headers=una), 409, "training_locked")
    assert nobody.get("/v1/training/acme", headers=una).json()["reason"] == "new prompts"
    problem(nobody.post(STOP, headers=una), 409, "training_locked")
    admin = api.headers("acme", "root", "training:manage", "identity:admin")
    stopped = nobody.post(STOP, json={"tenant_id": "acme"}, headers=admin)
    assert stopped.status_code == 200
    assert (stopped.json()["active"], stopped.json()["stopped_by"]) == (False, "root")
    refused = nobody.delete(f"/v1/installations/{nowhere}", headers=una)
    problem(refused, 404, "not_found")
    actions = api.postgres.run(
        "SELECT action, actor FROM audit_intake WHERE topic = 'training.audit' AND tenant_id = 'acme' ORDER BY id"
    )
    assert [tuple(row.values()) for row in actions] == [("training.started", "tom"), ("training.stopped", "root")]


def test_of_many_starts_one_opens(api: ApiServer, nobody: httpx.Client) -> None:
    headers = api.headers("beta", "tom", "training:manage")
    with ThreadPoolExecutor(8) as pool:
        ask = lambda n: nobody.post(START, json={"reason": str(n)}, headers=headers).status_code  # noqa: E731
        answers = list(pool.map(ask, range(8)))
    assert sorted(answers) == [201] + [409] * 7
    assert nobody.post(STOP, headers=headers).status_code == 200


def test_who_may(api: ApiServer, nobody: httpx.Client) -> None:
    without = api.headers("acme", "tom", "job:read")
    problem(nobody.post(START, json={"reason": "x"}, headers=without), 403, "capability_missing")
    tom = api.headers("acme", "tom", "training:manage")
    problem(nobody.post(START, json={"reason": "x", "tenant_id": "beta"}, headers=tom), 403, "tenant_mismatch")
    problem(nobody.get("/v1/training/beta", headers=tom), 404, "not_found")
    for body in ({"reason": ""}, {"reason": "x", "tenant_id": "../x"}, {"reason": "x", "who": 1}):
        problem(nobody.post(START, json=body, headers=tom), 422, "validation_failed")

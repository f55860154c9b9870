"""Taking jobs: both forms, once for each key, and every fault told at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from somagent.tests.jobs.workbench import Json, Workbench, capsule, step, step_of

ALL_TYPES = [
    {"name": "word", "type": "string", "required": True},
    {"name": "count", "type": "integer", "required": True},
    {"name": "share", "type": "number"},
    {"name": "flag", "type": "boolean"},
    {"name": "items", "type": "list"},
    {"name": "thing", "type": "object"},
]


def typed() -> Json:
    """A capsule with inputs of every type."""
    return capsule("typed", [step("join", "text.join", {"parts": ["{{ inputs.word }}"]})], inputs=ALL_TYPES)


def plain() -> Json:
    """A capsule without inputs."""
    return capsule("plain", [step("join", "text.join", {"parts": ["x"]})])


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document, which has to be this one."""
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert {"type", "title", "status", "detail", "instance", "request_id"} <= set(problem)
    assert "Traceback" not in answer.text
    return problem


def test_both_forms_are_one(workbench: Workbench) -> None:
    capsule_id = workbench.publish(plain())
    with workbench.http() as http:
        short = http.post("/v1/jobs", json={"capsule_id": capsule_id, "priority": 5})
        long = http.post("/v1/jobs", json={"task": "capsule.run", "payload": {"capsule_id": capsule_id, "inputs": {}}})
    for answer in (short, long):
        assert answer.status_code == 202, answer.text
        job = answer.json()
        assert (job["status"], job["task"], job["capsule_id"]) == ("queued", "capsule.run", capsule_id)
        assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
        assert workbench.ended(job["id"])["status"] == "completed"
    assert short.json()["priority"] == 5
    assert long.json()["priority"] == 3


def test_the_same_key_is_the_same_job(workbench: Workbench) -> None:
    capsule_id = workbench.publish(plain())
    key = {"Idempotency-Key": str(uuid4())}
    with workbench.http() as http:
        first = http.post("/v1/jobs", json={"capsule_id": capsule_id}, headers=key)
        again = http.post("/v1/jobs", json={"capsule_id": capsule_id}, headers=key)
        assert first.json() == again.json()
        assert again.headers["idempotent-replayed"] == "true"
        other = http.post("/v1/jobs", json={"capsule_id": capsule_id, "priority": 1}, headers=key)
        refused(other, 422, "idempotency_key_reused")
    listed = workbench.ada.get("/v1/jobs", capsule_id=capsule_id, limit=200)["items"]
    assert [one["id"] for one in listed].count(first.json()["id"]) == 1
    assert workbench.ended(first.json()["id"])["status"] == "completed"


def test_all_faults_of_the_inputs_at_once(workbench: Workbench) -> None:
    capsule_id = workbench.publish(typed())
    wrong = {"count": "7", "share": "half", "flag": 1, "items": {}, "thing": [], "unknown": 1}
    with workbench.http() as http:
        problem = refused(http.post("/v1/jobs", json={"capsule_id": capsule_id, "inputs": wrong}), 422, "input_invalid")
    assert {fault["path"] for fault in problem["errors"]} == {
        "inputs.word", "inputs.count", "inputs.share", "inputs.flag", "inputs.items", "inputs.thing", "inputs.unknown",
    }  # fmt: skip
    assert all(fault["code"] and fault["detail"] for fault in problem["errors"])


def test_all_faults_of_the_body_at_once(workbench: Workbench) -> None:
    body = {"capsule_id": "", "priority": 9, "budget_tokens": -1, "inputs": [], "session_id": "x", "colour": "red"}
    with workbench.http() as http:
        problem = refused(http.post("/v1/jobs", json=body), 422, "validation_failed")
        paths = {fault["path"] for fault in problem["errors"]}
        assert paths == {"capsule_id", "priority", "budget_tokens", "inputs", "session_id", "colour"}, problem
        long = refused(http.post("/v1/jobs", json={"task": "capsule.run", "payload": body}), 422, "validation_failed")
        assert {fault["path"] for fault in long["errors"]} == {f"payload.{path}" for path in paths}, long


def test_an_unknown_task(workbench: Workbench) -> None:
    with workbench.http() as http:
        problem = refused(http.post("/v1/jobs", json={"task": "dig.hole", "payload": {}}), 422, "unknown_task")
    assert [fault["path"] for fault in problem["errors"]] == ["task"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[1", b'{"capsule_id": NaN}', b'{"a": 1} x'])
def test_what_is_no_json(workbench: Workbench, body: bytes) -> None:
    with workbench.http() as http:
        answer = http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    refused(answer, 400, "malformed_json")


@pytest.mark.parametrize("body", ["", "[]", "null", "7", '"x"', "{}"])
def test_json_that_is_no_job(workbench: Workbench, body: str) -> None:
    with workbench.http() as http:
        answer = http.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    assert refused(answer, 422, "validation_failed")["errors"]


def test_a_body_over_one_mebibyte(workbench: Workbench) -> None:
    body = {"capsule_id": "x", "inputs": {"word": "x" * 1_100_000}}
    with workbench.http() as http:
        refused(http.post("/v1/jobs", json=body), 413, "body_too_large")


def test_a_capsule_that_is_not_installed(workbench: Workbench) -> None:
    with workbench.http() as http:
        refused(http.post("/v1/jobs", json={"capsule_id": "no_such"}), 409, "capsule_not_installed")
        known = workbench.publish(plain())
        wrong = http.post("/v1/jobs", json={"capsule_id": known, "version": "9.0.0"})
        refused(wrong, 409, "capsule_not_installed")
        elsewhere = http.post("/v1/jobs", json={"capsule_id": known, "environment": "staging"})
        refused(elsewhere, 409, "capsule_not_installed")


def test_ids_that_name_nothing(workbench: Workbench) -> None:
    nothing = str(uuid4())
    with workbench.http() as http:
        for path in ("", "/events", "/artifacts", "/artifacts/x"):
            refused(http.get(f"/v1/jobs/{nothing}{path}"), 404, "not_found")
            refused(http.get(f"/v1/jobs/no-uuid{path}"), 404, "not_found")
        for act in ("cancel", "pause", "resume", "retry"):
            refused(http.post(f"/v1/jobs/{nothing}/{act}"), 404, "not_found")


def test_every_door_asks_for_its_capability(workbench: Workbench, token: Callable[..., str]) -> None:
    job = workbench.run(plain())
    reader = {"Authorization": f"Bearer {token(workbench.tenant, 'rob', 'job:read')}"}
    base = f"/v1/jobs/{job['id']}"
    with httpx.Client(base_url=workbench.base_url, headers=reader, trust_env=False, timeout=60) as rob:
        assert rob.get(base).status_code == 200
        asked = [
            (rob.post("/v1/jobs", json={"capsule_id": job["capsule_id"]}), "job:submit"),
            *((rob.post(f"{base}/{act}"), "job:control") for act in ("cancel", "pause", "resume", "retry")),
            (rob.post(f"{base}/budget", json={"budget_tokens": 1}), "job:control"),
            (rob.post(f"{base}/approvals/{uuid4()}", json={"decision": "approve", "digest": "x"}), "approval:decide"),
        ]
        for answer, capability in asked:
            assert capability in refused(answer, 403, "capability_missing")["detail"]
    with httpx.Client(base_url=workbench.base_url, trust_env=False) as nobody:
        refused(nobody.get(base), 401, "token_missing")


def test_the_tasks_that_there_are(workbench: Workbench) -> None:
    tasks = {one["task"]: one for one in workbench.ada.get("/v1/jobs/tasks")["items"]}
    schema = tasks["capsule.run"]["payload_schema"]
    assert schema["required"] == ["capsule_id"]
    assert {"capsule_id", "version", "inputs", "environment", "budget_tokens", "priority"} <= set(schema["properties"])


def test_attachments_are_files_of_the_job(workbench: Workbench) -> None:
    steps = [
        step("list", "files.list", {"path": "attachments"}),
        step("read", "files.read", {"path": "attachments/notes.txt"}),
        step("write", "files.write", {"path": "copy.txt", "content": "{{ steps.read.output.content }}"}),
    ]
    capsule_id = workbench.publish(capsule("attached", steps))
    with workbench.http() as http:
        uploaded = http.post("/v1/attachments", files={"file": ("notes.txt", "dear diary", "text/plain")})
        assert uploaded.status_code == 201, uploaded.text
        attachment = uploaded.json()["id"]
        taken = http.post("/v1/jobs", json={"capsule_id": capsule_id, "attachments": [attachment]})
        missing = http.post("/v1/jobs", json={"capsule_id": capsule_id, "attachments": [attachment, str(uuid4())]})
    assert [fault["path"] for fault in refused(missing, 422, "input_invalid")["errors"]] == ["attachments[1]"]
    job = workbench.ended(taken.json()["id"])
    assert job["status"] == "completed", workbench.story(job)
    assert step_of(job, "list")["output"]["entries"] == [{"path": "attachments/notes.txt", "bytes": 10}]
    assert workbench.ada.artifact(job["id"], "copy.txt") == b"dear diary"


def test_attachments_are_read_only(workbench: Workbench) -> None:
    steps = [step("write", "files.write", {"path": "attachments/x.txt", "content": "x"})]
    job = workbench.run(capsule("writes_attachment", steps), status="failed")
    assert job["error"]["code"] == "path_outside_workspace"

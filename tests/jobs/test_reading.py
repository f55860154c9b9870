"""Watching jobs: events and their resumption, lists and their pages, and the way to the Temporal UI."""

from __future__ import annotations

import re

import httpx

from somagent.tests.jobs.receiver import Receiver
from somagent.tests.jobs.workbench import Json, Workbench, capsule, step, until

URL = {"name": "url", "type": "string", "required": True}
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def short(name: str = "short") -> Json:
    """A capsule of two light steps."""
    return capsule(name, [step("one", "text.join", {"parts": ["x"]}), step("two", "text.join", {"parts": ["y"]})])


def test_events_are_resumed_where_they_were_left(workbench: Workbench, receiver: Receiver) -> None:
    held = {"method": "POST", "url": "{{ inputs.url }}"}
    steps = [
        step("one", "text.join", {"parts": ["x"]}),
        step("two", "http.request", held),
        *short()["workflow"]["steps"],
    ]
    steps = [{**one, "id": f"s{n}"} for n, one in enumerate(steps)]
    job_id = workbench.start(capsule("watched", steps, inputs=[URL]), {"url": receiver.url("/held")})
    seen = []
    for event in workbench.ada.events(job_id):
        seen.append(event)
        if event.type == "step.running":
            break
    receiver.release()
    seen.extend(workbench.ada.events(job_id, after=seen[-1].id))
    assert [event.id for event in seen] == list(range(1, len(seen) + 1))
    assert [event.type for event in seen] == [
        "job.started", "step.completed", "step.running", "step.completed", "step.completed", "step.completed",
        "job.completed",
    ]  # fmt: skip
    assert seen[-1].data == {"completed": 4, "total": 4}
    assert [event.data["completed"] for event in seen if event.type == "step.completed"] == [1, 2, 3, 4]
    assert list(workbench.ada.events(job_id)) == seen
    assert list(workbench.ada.events(job_id, after=seen[-1].id)) == []


def test_the_stream_is_what_browsers_read(workbench: Workbench) -> None:
    job = workbench.run(short())
    with workbench.http() as http:
        answer = http.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": "2"})
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        blocks = [block for block in answer.text.split("\n\n") if "data:" in block]
        assert blocks[0].startswith("id: 3\nevent: step.completed\ndata: {")
        for wrong in ("x", "-1", "1.5", "9" * 16):
            refused = http.get(f"/v1/jobs/{job['id']}/events", headers={"Last-Event-ID": wrong})
            assert (refused.status_code, refused.json()["code"]) == (422, "validation_failed"), wrong


def test_lists_are_filtered_and_paged(workbench: Workbench) -> None:
    definition = short("listed")
    ids = [workbench.run(definition)["id"] for _ in range(5)]
    listed = workbench.ada.get("/v1/jobs", capsule_id=definition["id"], limit=200)
    mine = [one["id"] for one in listed["items"] if one["id"] in ids]
    assert mine == ids[::-1]
    stamps = [one["created_at"] for one in listed["items"]]
    assert stamps == sorted(stamps, reverse=True)
    assert all(STAMP.fullmatch(stamp) for stamp in stamps)
    pages: list[str] = []
    page = workbench.ada.get("/v1/jobs", capsule_id=definition["id"], limit=2)
    while True:
        assert len(page["items"]) <= 2
        pages += [one["id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        page = workbench.ada.get("/v1/jobs", capsule_id=definition["id"], limit=2, cursor=page["next_cursor"])
    assert pages == [one["id"] for one in listed["items"]]
    with workbench.http() as http:
        by_status = http.get("/v1/jobs", params={"status": "completed", "limit": 200}).json()["items"]
        assert set(ids) <= {one["id"] for one in by_status}
        assert {one["status"] for one in by_status} == {"completed"}
        both = http.get("/v1/jobs", params=[("status", "failed"), ("status", "cancelled")]).json()["items"]
        assert {one["status"] for one in both} <= {"failed", "cancelled"}
        for query, code in [
            ({"status": "lost"}, "validation_failed"), ({"limit": "0"}, "validation_failed"),
            ({"limit": "201"}, "validation_failed"), ({"cursor": "x!"}, "invalid_cursor"),
        ]:  # fmt: skip
            refused = http.get("/v1/jobs", params=query)
            assert refused.json()["code"] == code, query
            assert refused.status_code in (400, 422)


def test_a_job_as_it_is_shown(workbench: Workbench) -> None:
    job = workbench.run(short())
    assert set(job) >= {
        "id", "task", "status", "progress", "steps", "result", "error", "usage", "approvals", "workflow_id", "run_id",
        "temporal_ui_url", "created_at", "started_at", "finished_at",
    }  # fmt: skip
    assert job["task"] == "capsule.run"
    assert job["workflow_id"] == f"job-{job['id']}"
    assert set(job["steps"][0]) == {
        "id", "action", "status", "attempt", "started_at", "finished_at", "output", "error",
    }  # fmt: skip
    assert all(STAMP.fullmatch(job[name]) for name in ("created_at", "started_at", "finished_at"))


def test_the_temporal_ui_shows_the_run(workbench: Workbench) -> None:
    job = workbench.run(short())
    assert job["workflow_id"] in job["temporal_ui_url"]
    assert job["run_id"] in job["temporal_ui_url"]
    assert httpx.get(job["temporal_ui_url"], trust_env=False).status_code == 200
    base, _, _ = job["temporal_ui_url"].partition("/namespaces/")
    described = httpx.get(f"{base}/api/v1/namespaces/default/workflows/{job['workflow_id']}", trust_env=False)
    assert described.status_code == 200, described.text
    info = described.json()["workflowExecutionInfo"]
    assert info["execution"]["runId"] == job["run_id"]
    assert set(info["searchAttributes"]["indexedFields"]) >= {"SomaTenant", "SomaCapsule", "SomaStatus"}


def test_jobs_of_strangers_are_not_there(workbench: Workbench, receiver: Receiver, token: object) -> None:
    ask = step("ask", "human.approve", {"question": "Ours?"})
    job_id = workbench.start(capsule("ours", [ask]))
    _, approval = workbench.asked(job_id)
    stranger = token("strangers", "eve")  # type: ignore[operator]
    headers = {"Authorization": f"Bearer {stranger}"}
    base = f"/v1/jobs/{job_id}"
    vote = {"decision": "approve", "digest": approval["digest"]}
    with httpx.Client(base_url=workbench.base_url, headers=headers, trust_env=False, timeout=60) as eve:
        asked = [
            eve.get(base), eve.get(f"{base}/events"), eve.get(f"{base}/artifacts"), eve.get(f"{base}/artifacts/a"),
            *(eve.post(f"{base}/{act}") for act in ("cancel", "pause", "resume", "retry")),
            eve.post(f"{base}/budget", json={"budget_tokens": 5}),
            eve.post(f"{base}/approvals/{approval['id']}", json=vote),
        ]  # fmt: skip
        for answer in asked:
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), answer.request.url
            assert "ours" not in answer.text
        assert eve.get("/v1/jobs").json()["items"] == []
        run = eve.post("/v1/jobs", json={"capsule_id": workbench.ada.job(job_id)["capsule_id"], "inputs": {}})
        assert (run.status_code, run.json()["code"]) == (409, "capsule_not_installed")
    assert workbench.ada.job(job_id)["status"] == "waiting"
    workbench.ada.post(f"{base}/cancel")
    until(lambda: workbench.ada.job(job_id)["status"] == "cancelled", "the cancellation")

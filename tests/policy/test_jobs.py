"""A tenant's rules where they count: when a job is taken, and before each step with an effect. On the real stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from somagent.client import SomaGent
from somagent.tests.harness import Stack
from somagent.tests.jobs.workbench import Json, Workbench, capsule, step, step_of

TENANT = "ruled"


@pytest.fixture(scope="module")
def ruled(stack: Stack, _issue_token: Callable[..., str]) -> Iterator[Workbench]:
    """A tenant of these tests' own."""
    tokens = {user: _issue_token(TENANT, user) for user in ("ada", "ben", "cyd")}
    with (
        SomaGent(stack.base_url, tokens["ada"], timeout=60) as ada,
        SomaGent(stack.base_url, tokens["ben"], timeout=60) as ben,
        SomaGent(stack.base_url, tokens["cyd"], timeout=60) as cyd,
    ):
        yield Workbench(TENANT, stack.base_url, tokens, ada, ben, cyd)


@pytest.fixture
def rules(ruled: Workbench) -> Iterator[Callable[..., None]]:
    """``rules(rule, ...)`` puts these in force, and none afterwards."""

    def put(*new: Json) -> None:
        with ruled.http() as http:
            answer = http.put(f"/v1/policies/{TENANT}", json={"rules": list(new)})
            assert answer.status_code == 200, answer.text

    yield put
    put()


WRITES = capsule(
    "writes",
    [
        step("words", "text.join", {"parts": ["the", "{{ inputs.word }}", "bird"], "with": " "}),
        step("write", "files.write", {"path": "bird.txt", "content": "{{ steps.words.output.text }}"}),
    ],
    inputs=[{"name": "word", "type": "string", "required": True}],
)
SECRET = {"name": "no-blue-birds", "pattern": "blue bird", "hard": True}


def decisions(ruled: Workbench, **query: str) -> list[Json]:
    found: list[Json] = ruled.ada.get(f"/v1/policies/{TENANT}/decisions", **query)["items"]
    return found


def test_a_step_is_refused_by_what_its_arguments_say(ruled: Workbench, rules: Callable[..., None]) -> None:
    ruled.publish(WRITES)
    rules(SECRET)
    assert ruled.run(WRITES, {"word": "red"})["error"] is None
    job = ruled.run(WRITES, {"word": "blue"}, status="failed")
    assert job["error"]["code"] == "policy_refused"
    assert "no-blue-birds" in job["error"]["detail"]
    assert step_of(job, "write")["status"] == "failed"
    recorded = decisions(ruled, source="step")[0]
    assert recorded["object"] == f"step:{job['id']}:write"
    assert (recorded["allowed"], recorded["policy"], recorded["action"]) == (False, ["no-blue-birds"], "files.write")
    assert recorded["user_id"] == "ada"


def test_a_job_is_refused_by_what_its_inputs_say(ruled: Workbench, rules: Callable[..., None]) -> None:
    capsule_id = ruled.publish(WRITES)
    rules({**SECRET, "pattern": "green"})
    with ruled.http() as http:
        taken = http.post("/v1/jobs", json={"capsule_id": capsule_id, "inputs": {"word": "red"}})
        assert (taken.status_code, taken.headers["x-policy-decision"]) == (202, "allow")
        refused: httpx.Response = http.post("/v1/jobs", json={"capsule_id": capsule_id, "inputs": {"word": "GR33N"}})
    assert (refused.status_code, refused.json()["code"]) == (403, "policy_refused")
    assert refused.headers["x-policy-decision"] == "refuse"
    assert refused.headers["x-constitution-hash"] == taken.headers["x-constitution-hash"]
    recorded = decisions(ruled, source="job")[0]
    assert (recorded["object"], recorded["policy"]) == (f"capsule:{capsule_id}", ["no-blue-birds"])


def test_a_condition_sees_the_action_and_the_capsule(ruled: Workbench, rules: Callable[..., None]) -> None:
    ruled.publish(WRITES)
    rule = {"name": "no-writing", "pattern": "bird", "hard": True}
    rules({**rule, "condition": "action == 'shell.execute'"})
    assert ruled.run(WRITES, {"word": "red"})["error"] is None
    rules({**rule, "condition": f"action == 'files.write' && capsule_id == '{WRITES['id']}' && risk < 0.2"})
    assert ruled.run(WRITES, {"word": "red"}, status="failed")["error"]["code"] == "policy_refused"


def test_in_production_the_shipped_capsules_are_taken(ruled: Workbench) -> None:
    with ruled.http() as http:
        try:
            switched = http.put(f"/v1/tenants/{TENANT}/deployment-mode", json={"mode": "production"})
            assert switched.status_code == 200, switched.text
            shipped = [one["id"] for one in http.get("/v1/capsules", params={"limit": 50}).json()["items"]
                       if one["source"] == "filesystem"]  # fmt: skip
            for capsule_id in shipped:
                judged = http.post("/v1/evaluate", json={"prompt": "", "metadata": {"action": "http.request"}}).json()
                assert (judged["allowed"], judged["threshold"]) == (True, 0.8)
                answer = http.post("/v1/jobs", json={"capsule_id": capsule_id, "inputs": {}})
                assert answer.json().get("code") != "policy_refused", answer.text
        finally:
            http.put(f"/v1/tenants/{TENANT}/deployment-mode", json={"mode": "developer-light"})

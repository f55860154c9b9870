"""What the chain tells of a job, whatever becomes of it; and of the capsule it came from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import asyncpg
import orjson
import pytest
from redis import Redis

from somagent.client import SomaGent
from somagent.tests.harness import Stack
from somagent.tests.jobs.workbench import Workbench, capsule, step, until

Json = dict[str, Any]
TENANT = "accounts"


@pytest.fixture(scope="module")
def bench(stack: Stack, _issue_token: Callable[..., str]) -> Iterator[Workbench]:
    """People of a tenant of these tests' own."""
    tokens = {user: _issue_token(TENANT, user) for user in ("ada", "ben", "cyd")}
    with ExitStack() as opened:
        ada, ben, cyd = (opened.enter_context(SomaGent(stack.base_url, token, timeout=60)) for token in tokens.values())
        yield Workbench(TENANT, stack.base_url, tokens, ada, ben, cyd)


def told(bench: Workbench, object_: str) -> list[Json]:
    """What the chain tells of one thing, oldest first."""
    with bench.http() as client:
        answer = client.get("/v1/audit", params={"object": object_})
    assert answer.status_code == 200, answer.text
    return list(reversed(answer.json()["items"]))


def test_a_job_from_submission_to_end_with_the_decisions_on_its_steps(bench: Workbench) -> None:
    steps = [
        step("write", "files.write", {"path": "a.txt", "content": "{{ inputs.text }}"}),
        step("read", "files.read", {"path": "a.txt"}),
        step("keep", "memory.remember", {"text": "{{ steps.read.output.content }}"}),
    ]
    inputs = [{"name": "text", "type": "string", "required": True, "description": "what to write"}]
    job = bench.run(capsule("accounted", steps, inputs=inputs), {"text": "a private word"})
    submitted, ended = told(bench, f"job:{job['id']}")
    assert (submitted["action"], submitted["actor"], submitted["outcome"]) == ("job.submitted", "ada", "done")
    assert submitted["detail"]["capsule_id"] == job["capsule_id"]
    assert submitted["request_id"]
    assert submitted["trace_id"]
    assert (ended["action"], ended["actor"], ended["outcome"]) == ("job.completed", "ada", "done")
    decisions = ended["detail"]["decisions"]
    assert [(one["step"], one["action"], one["allowed"]) for one in decisions] == [
        ("write", "files.write", True),
        ("keep", "memory.remember", True),
    ]
    assert all(0.7 <= one["score"] <= 1.2 for one in decisions)
    assert "private" not in str((submitted, ended))


def test_a_job_that_fails_says_where_and_with_which_code(bench: Workbench) -> None:
    job = bench.run(capsule("failing", [step("read", "files.read", {"path": "nowhere.txt"})]), status="failed")
    ended = told(bench, f"job:{job['id']}")[-1]
    assert (ended["action"], ended["outcome"]) == ("job.failed", "failed")
    assert ended["detail"]["error"] == job["error"]["code"]


def test_what_people_do_to_a_job(bench: Workbench) -> None:
    definition = capsule("asking", [step("ask", "human.approve", {"question": "Shall we?"})])
    job_id = bench.start(definition)
    _, approval = bench.asked(job_id)
    bench.ben.post(f"/v1/jobs/{job_id}/budget", {"budget_tokens": 500})
    bench.vote(bench.ben, job_id, approval, "approve")
    bench.ended(job_id)
    actions = [(entry["action"], entry["actor"]) for entry in told(bench, f"job:{job_id}")]
    assert actions[0] == ("job.submitted", "ada")
    assert ("job.budget_changed", "ben") in actions
    assert actions[-1] == ("job.completed", "ada")
    votes = [entry for entry in told(bench, "approval:*") if entry["detail"].get("job_id") == job_id]
    votes += [entry for entry in told(bench, f"job:{job_id}") if "vote" in entry["action"]]
    assert [entry["actor"] for entry in votes] == ["ben"]


def test_a_job_cancelled_and_retried(bench: Workbench) -> None:
    job_id = bench.start(capsule("waiting", [step("ask", "human.approve", {"question": "Now?"})]))
    bench.asked(job_id)
    with bench.http("cyd") as cyd:
        assert cyd.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
        bench.ended(job_id)
        assert cyd.post(f"/v1/jobs/{job_id}/retry").status_code == 202
        assert cyd.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    bench.ended(job_id)
    chain = [(entry["action"], entry["actor"]) for entry in told(bench, f"job:{job_id}")]
    people = [("job.submitted", "ada"), ("job.cancel_requested", "cyd"), ("job.retried", "cyd")]
    assert [one for one in chain if one[0] != "job.cancelled"] == [*people, ("job.cancel_requested", "cyd")]
    assert chain.count(("job.cancelled", "ada")) == 2


def test_a_capsule_from_submission_to_uninstalling(bench: Workbench) -> None:
    capsule_id = bench.publish(capsule("shown", [step("say", "text.join", {"parts": ["a"], "with": ""})]))
    with bench.http() as client:
        (installed,) = client.get("/v1/installations", params={"capsule_id": capsule_id}).json()["items"]
        assert client.delete(f"/v1/installations/{installed['id']}").status_code < 300
    assert [(entry["action"], entry["actor"]) for entry in told(bench, f"installation:{installed['id']}")] == [
        ("capsule.installation.requested", "ada"),
        ("capsule.installed", "ada"),
        ("capsule.uninstalled", "ada"),
    ]
    handed_in = [one for one in told(bench, "submission:*") if one["detail"]["capsule_id"] == capsule_id]
    assert [(entry["action"], entry["actor"]) for entry in handed_in] == [
        ("capsule.submitted", "ada"),
        ("capsule.submission.voted", "ben"),
        ("capsule.submission.approved", "ben"),
    ]


def test_attachments_keys_and_erased_memories(bench: Workbench) -> None:
    with bench.http() as client:
        attachment = client.post("/v1/attachments", files={"file": ("salary.txt", b"a lot", "text/plain")}).json()
        memory = client.post("/v1/remember", json={"text": "high water at noon"}).json()
        assert client.delete(f"/v1/memories/{memory['memory_id']}").status_code == 204
        assert client.delete(f"/v1/memories/{memory['memory_id']}").status_code == 404
    (uploaded,) = told(bench, f"attachment:{attachment['id']}")
    assert uploaded["detail"] == {"media_type": "text/plain", "bytes": 5, "sha256": attachment["sha256"]}
    assert [entry["action"] for entry in told(bench, f"memory:{memory['memory_id']}")] == ["memory.deleted"]


def test_the_relay_seals_and_publishes_without_being_asked(bench: Workbench, stack: Stack) -> None:
    job = bench.run(capsule("unasked", [step("say", "text.join", {"parts": ["a"], "with": ""})]))
    about = f"job:{job['id']}"
    until(lambda: _sealed(stack, about) == ["job.submitted", "job.completed"], "both entries in the chain")
    until(lambda: _published(stack.redis_url, about) == ["job.submitted", "job.completed"], "both events")


def _sealed(stack: Stack, object_: str) -> list[str]:
    async def run() -> list[str]:
        connection = await asyncpg.connect(stack.postgres_owner_url)
        try:
            rows = await connection.fetch("SELECT action FROM audit_entries WHERE object = $1 ORDER BY seq", object_)
            return [row["action"] for row in rows]
        finally:
            await connection.close()

    return asyncio.run(run())


def _published(redis_url: str, object_: str) -> list[str]:
    with Redis.from_url(redis_url) as redis:
        events: Any = redis.xrange("agent.audit")
    told = [orjson.loads(fields[b"v"]) for _, fields in events]
    return [event["payload"]["type"] for event in told if event["payload"]["object"] == object_]

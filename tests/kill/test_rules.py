"""What a stop refuses, for whom, for how long, and who may set it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from uuid import uuid4

import asyncpg
import httpx
import pytest

from somagent.adapters.postgres.database import Database
from somagent.services.kill_switch.sweep import Sweep
from somagent.tests.api.servers import ApiServer

CAPSULE = "document_brief"
STOP = "kill:global"


def client(api: ApiServer, tenant: str = "acme", *capabilities: str) -> httpx.Client:
    """A person of that tenant."""
    return httpx.Client(
        base_url=api.url, headers=api.headers(tenant, "ann", *capabilities), trust_env=False, timeout=30
    )


@pytest.fixture
def acme(first: ApiServer) -> Iterator[httpx.Client]:
    """Somebody of tenant acme with `*`; nothing is stopped before and after the test."""
    with client(first) as opened:
        yield opened
        with client(first, "acme", STOP, "kill:tenant") as operator:
            operator.delete("/v1/kill-switch/global")
            for item in operator.get("/v1/kill-switch").json()["items"]:
                operator.delete(f"/v1/kill-switch/{item['scope']}/{item['target']}")


def submit(person: httpx.Client, **fields: object) -> httpx.Response:
    """A job of a shipped capsule."""
    return person.post("/v1/jobs", json={"capsule_id": CAPSULE, "inputs": {"folder": "attachments"}, **fields})


def stop(person: httpx.Client, scope: str, reason: str = "a drill") -> dict[str, object]:
    """Engage a switch."""
    answer = person.put(f"/v1/kill-switch/{scope}", json={"reason": reason})
    assert answer.status_code == 200, answer.text
    document: dict[str, object] = answer.json()
    return document


def test_a_tenants_stop_refuses_its_work_alone(first: ApiServer, acme: httpx.Client) -> None:
    assert submit(acme).status_code == 202
    found = stop(acme, "tenant/acme")
    assert (found["engaged"], found["scope"], found["target"], found["reason"]) == (True, "tenant", "acme", "a drill")
    refused = submit(acme)
    assert (refused.status_code, refused.json()["code"]) == (503, "kill_switch_active")
    assert "a drill" in refused.json()["detail"]
    assert refused.headers["retry-after"]
    assert acme.post("/v1/remember", json={"text": "x"}).json()["code"] == "kill_switch_active"
    assert acme.post("/v1/notifications", json={"message": "x"}).json()["code"] == "kill_switch_active"
    with client(first, "beta") as other:
        assert submit(other).status_code == 202
        assert other.get("/v1/kill-switch").json()["items"] == []
        assert other.get("/v1/kill-switch/tenant/acme").status_code == 404
        assert other.put("/v1/kill-switch/tenant/acme", json={"reason": "x"}).status_code == 404
        assert other.delete("/v1/kill-switch/tenant/acme").status_code == 404


def test_queued_jobs_are_killed_on_the_spot(acme: httpx.Client) -> None:
    job_id = submit(acme).json()["id"]
    found = stop(acme, f"run/{job_id}")
    job = acme.get(f"/v1/jobs/{job_id}").json()
    assert job["status"] == "killed"
    assert job["error"]["code"] == "kill_switch_active"
    assert "a drill" in job["error"]["detail"]
    assert found["stopped"] == 1
    assert found["still_running"] == 0
    assert found["workflows_checked"] is False, "Temporal is away here, and nobody can tell"
    events = acme.get(f"/v1/jobs/{job_id}/events").text
    assert "job.killed" in events


def test_retry_once_it_is_lifted(acme: httpx.Client) -> None:
    job_id = submit(acme).json()["id"]
    stop(acme, f"run/{job_id}")
    refused = acme.post(f"/v1/jobs/{job_id}/retry")
    assert (refused.status_code, refused.json()["code"]) == (503, "kill_switch_active")
    assert acme.delete(f"/v1/kill-switch/run/{job_id}").json()["engaged"] is False
    retried = acme.post(f"/v1/jobs/{job_id}/retry")
    assert (retried.status_code, retried.json()["status"]) == (202, "queued")


def test_a_capsules_stop(first: ApiServer, acme: httpx.Client) -> None:
    stopped = submit(acme).json()["id"]
    stop(acme, f"capsule/{CAPSULE}")
    assert acme.get(f"/v1/jobs/{stopped}").json()["status"] == "killed"
    assert submit(acme).json()["code"] == "kill_switch_active"
    other = acme.post("/v1/jobs", json={"capsule_id": "repository_digest", "inputs": {"repository": "shared/x"}})
    assert other.status_code == 202, other.text
    with client(first, "beta") as beta:
        assert submit(beta).status_code == 202, "another tenant's capsule of the same name"


def test_a_sessions_stop_refuses_its_jobs(first: ApiServer, acme: httpx.Client) -> None:
    session_id = str(uuid4())
    first.postgres.run(
        "INSERT INTO sessions (id, tenant_id, user_id, workflow_id, moderation, policy) "
        "VALUES ($1::text::uuid, 'acme', 'ann', 'session-' || $1, '{}', '{}')", session_id,
    )  # fmt: skip
    job_id = submit(acme, session_id=session_id).json()["id"]
    found = stop(acme, f"run/{session_id}")
    assert found["stopped"] == 2
    assert acme.get(f"/v1/jobs/{job_id}").json()["status"] == "killed"
    assert submit(acme, session_id=session_id).json()["code"] == "kill_switch_active"
    assert submit(acme).status_code == 202


def test_unknown_targets(acme: httpx.Client) -> None:
    for scope in ("run/not-a-uuid", f"run/{uuid4()}", "capsule/nowhere", "capsule/a%00b", "tenant/nobody"):
        answer = acme.put(f"/v1/kill-switch/{scope}", json={"reason": "x"})
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), scope
    foreign = acme.put("/v1/kill-switch/tenant/acme", json={"reason": " "})
    assert foreign.status_code == 422


def test_another_tenants_run(first: ApiServer, acme: httpx.Client) -> None:
    with client(first, "beta") as beta:
        job_id = submit(beta).json()["id"]
        assert acme.put(f"/v1/kill-switch/run/{job_id}", json={"reason": "x"}).status_code == 404
        assert beta.get(f"/v1/jobs/{job_id}").json()["status"] == "queued"


def test_who_may(first: ApiServer, acme: httpx.Client) -> None:
    everything = acme.put("/v1/kill-switch/global", json={"reason": "x"})
    assert (everything.status_code, everything.json()["code"]) == (403, "capability_missing"), "not even with *"
    with client(first, "acme", "job:submit") as submitter:
        assert submitter.put("/v1/kill-switch/tenant/acme", json={"reason": "x"}).status_code == 403
        assert submitter.get("/v1/kill-switch").status_code == 403
        assert submitter.delete("/v1/kill-switch/tenant/acme").status_code == 403
    with client(first, "beta", "kill:tenant", "tenant:any") as operator:
        assert stop(operator, "tenant/acme")["engaged_by"] == "ann"
        assert submit(acme).status_code == 503
        assert operator.delete("/v1/kill-switch/tenant/acme").status_code == 200
        assert submit(acme).status_code == 202


def test_a_second_reason_and_lifting_twice(first: ApiServer, acme: httpx.Client) -> None:
    stop(acme, "tenant/acme", "one")
    assert stop(acme, "tenant/acme", "two")["reason"] == "two"
    assert acme.get("/v1/kill-switch/tenant/acme").json()["reason"] == "two"
    assert [item["reason"] for item in acme.get("/v1/kill-switch").json()["items"]] == ["two"]
    assert acme.delete("/v1/kill-switch/tenant/acme").status_code == 200
    again = acme.delete("/v1/kill-switch/tenant/acme")
    assert (again.status_code, again.json()["code"]) == (409, "kill_switch_not_engaged")
    assert acme.get("/v1/kill-switch/tenant/acme").json()["engaged"] is False
    told = first.postgres.run(
        "SELECT action, object FROM (SELECT id AS n, action, object, topic FROM audit_intake UNION ALL "
        "SELECT seq, action, object, topic FROM audit_entries) a WHERE topic = 'gateway.audit' "
        "AND object = 'tenant:acme' ORDER BY n DESC LIMIT 3"
    )
    assert [row["action"] for row in reversed(told)] == [
        "kill_switch.engaged", "kill_switch.reason_changed", "kill_switch.lifted",
    ]  # fmt: skip


def test_everything_stops_on_every_process_and_after_restarts(
    first: ApiServer, second: ApiServer, acme: httpx.Client
) -> None:
    with client(first, "acme", STOP) as operator, client(second, "beta") as elsewhere:
        assert submit(elsewhere).status_code == 202
        found = stop(operator, "global")
        refused = submit(elsewhere)
        assert (refused.status_code, refused.json()["code"]) == (503, "kill_switch_active")
        assert found["still_running"] == 0
        assert found["running"] == []
        struck = "SELECT actor FROM audit_intake WHERE tenant_id = 'beta' AND action = 'kill_switch.engaged'"
        assert [row["actor"] for row in first.postgres.run(struck)] == ["somagent"]
        second.stop()
        first.postgres.stop()
        first.postgres.start()
        second.start()
        assert submit(elsewhere).status_code == 503
        deadline = time.monotonic() + 20
        while operator.delete("/v1/kill-switch/global").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        time.sleep(1)
        assert submit(elsewhere).status_code == 202
        assert submit(acme).status_code == 202


def test_nothing_is_admitted_past_a_stop(first: ApiServer, second: ApiServer, acme: httpx.Client) -> None:
    """Two processes take jobs as fast as they can; after the answer none that they took is left alive."""
    ending, taken = Event(), []

    def flood(api: ApiServer) -> None:
        with client(api, "gamma") as person:
            while not ending.is_set():
                answer = submit(person)
                if answer.status_code == 202:
                    taken.append(answer.json()["id"])

    with ThreadPoolExecutor(4) as pool, client(second, "gamma") as person:
        running = [pool.submit(flood, api) for api in (first, second, first, second)]
        time.sleep(1)
        stop(person, "tenant/gamma")
        left = first.postgres.run("SELECT id FROM jobs WHERE tenant_id = 'gamma' AND status <> 'killed'")
        assert left == []
        time.sleep(1)
        ending.set()
        for one in running:
            one.result()
        assert len(taken) > 10
        left = first.postgres.run("SELECT id FROM jobs WHERE tenant_id = 'gamma' AND status <> 'killed'")
        assert left == []
        person.delete("/v1/kill-switch/tenant/gamma")


def test_what_somebody_holds_is_told_and_stopped_later(first: ApiServer, acme: httpx.Client) -> None:
    """A process that hangs in the middle of a job's step holds its row: the stop neither waits nor claims it."""
    job_id = submit(acme).json()["id"]
    with held(first, "SELECT 1 FROM jobs WHERE id = $1::text::uuid FOR UPDATE", job_id):
        started = time.monotonic()
        found = stop(acme, f"run/{job_id}")
        assert time.monotonic() - started < 8
        assert (found["stopped"], found["still_running"]) == (0, 1)
        (listed,) = acme.get(f"/v1/kill-switch/run/{job_id}").json()["running"]
        assert (listed["id"], listed["status"]) == (job_id, "queued")
    asyncio.run(sweep(first))
    assert acme.get(f"/v1/jobs/{job_id}").json()["status"] == "killed"
    assert acme.get(f"/v1/kill-switch/run/{job_id}").json()["still_running"] == 0


def test_a_stop_does_not_wait_for_an_admission_that_hangs(first: ApiServer, acme: httpx.Client) -> None:
    with held(first, "SELECT soma_stopped('acme', $1, '{}')", CAPSULE):
        started = time.monotonic()
        assert stop(acme, "tenant/acme")["engaged"] is True
        assert time.monotonic() - started < 8
        assert submit(acme).status_code == 503


@contextmanager
def held(api: ApiServer, statement: str, argument: str) -> Iterator[None]:
    """A transaction that has done this and does not end inside the block."""
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(api.postgres.owner_url))
    try:
        loop.run_until_complete(connection.execute("BEGIN"))
        loop.run_until_complete(connection.fetch(statement, argument))
        yield
    finally:
        loop.run_until_complete(connection.close())
        loop.close()


async def sweep(api: ApiServer) -> None:
    """One look of the relay."""
    database = await Database.open(api.postgres.system_url, pool_size=2)
    try:
        await Sweep(database).look()
    finally:
        await database.close()

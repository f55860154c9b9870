"""Trees of running jobs, stopped on a whole stack: what the answer says is what is so."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import asyncpg
import httpx
import psutil
import pytest

from somagent.client import SomaGent
from somagent.tests.harness import Stack, new_stack, words
from somagent.tests.jobs.workbench import Json, Workbench, capsule, step, until

TREES = 50
PROGRAMS = 4


@pytest.fixture
def bench(stack: Stack, _issue_token: Callable[..., str]) -> Iterator[Workbench]:
    """A tenant of the test's own."""
    tenant = f"kill-{uuid4().hex[:8]}"
    tokens = {user: _issue_token(tenant, user) for user in ("ada", "ben", "cyd")}
    with (
        SomaGent(stack.base_url, tokens["ada"], timeout=60) as ada,
        SomaGent(stack.base_url, tokens["ben"], timeout=60) as ben,
        SomaGent(stack.base_url, tokens["cyd"], timeout=60) as cyd,
    ):
        yield Workbench(tenant, stack.base_url, tokens, ada, ben, cyd)


def asking() -> Json:
    """A child that waits for people."""
    return capsule("asking_child", [step("ask", "human.approve", {"question": "Go on?"})])


def sleeping(seconds: str) -> Json:
    """A child that runs a program."""
    return capsule("sleeping_child", [step("sleep", "shell.execute", {"command": ["sleep", seconds]})])


def over(child: Json) -> Json:
    """A parent of that child."""
    steps = [
        step("before", "text.join", {"parts": ["x"]}),
        step("child", "capsule.run", {"capsule_id": child["id"], "inputs": {}}),
        step("after", "text.join", {"parts": ["y"]}),
    ]
    return capsule(f"over_{child['id']}", steps, type="composite")


def programs(seconds: str) -> list[psutil.Process]:
    """The programs of that child that run at this moment."""
    return [one for one in psutil.process_iter() if words(one)[-2:] == ["sleep", seconds]]


def stop(bench: Workbench, scope: str) -> Json:
    """Engage a switch; its answer."""
    with bench.http() as http:
        answer = http.put(f"/v1/kill-switch/{scope}", json={"reason": "a drill"})
        assert answer.status_code == 200, answer.text
        document: Json = answer.json()
        return document


def jobs(bench: Workbench, stack: Stack) -> list[tuple[str, str]]:
    """Every job of the tenant with its status."""

    async def ask() -> list[tuple[str, str]]:
        connection = await asyncpg.connect(stack.postgres_owner_url)
        try:
            rows = await connection.fetch("SELECT id::text, status FROM jobs WHERE tenant_id = $1", bench.tenant)
            return [(row["id"], row["status"]) for row in rows]
        finally:
            await connection.close()

    return asyncio.run(ask())


def test_fifty_running_trees_stop(bench: Workbench, stack: Stack) -> None:
    seconds = "7919"
    for child in (asking(), sleeping(seconds)):
        bench.publish(child)
    waiting, running = over(asking()), over(sleeping(seconds))
    for _ in range(TREES - PROGRAMS):
        bench.start(waiting)
    for _ in range(PROGRAMS):
        bench.start(running)

    def under_way() -> bool:
        found = [status for _, status in jobs(bench, stack)]
        return len(found) == 2 * TREES and found.count("waiting") >= TREES - PROGRAMS and len(programs(seconds)) >= 1

    until(under_way, "fifty trees under way")
    started = time.monotonic()
    found = stop(bench, f"tenant/{bench.tenant}")
    took = time.monotonic() - started
    unfinished = [one for one, status in jobs(bench, stack) if status != "killed"]
    if found["still_running"] == 0:
        assert unfinished == []
        assert found["stopped"] == 2 * TREES
        assert found["workflows_checked"] is True
        assert programs(seconds) == []
    with bench.http() as http:
        until(
            lambda: http.get(f"/v1/kill-switch/tenant/{bench.tenant}").json()["still_running"] == 0, "all to stop", 20
        )
        assert {status for _, status in jobs(bench, stack)} == {"killed"}
        assert programs(seconds) == []
        assert http.get(f"/v1/kill-switch/tenant/{bench.tenant}").json()["stopped"] == 2 * TREES
        assert http.post("/v1/jobs", json={"capsule_id": waiting["id"], "inputs": {}}).status_code == 503
        assert http.delete(f"/v1/kill-switch/tenant/{bench.tenant}").status_code == 200
    assert took < 10
    job = bench.ada.job(next(one for one, _ in jobs(bench, stack)))
    assert job["error"]["code"] == "kill_switch_active"
    simple = capsule("after_the_drill", [step("join", "text.join", {"parts": ["works", "again"]})])
    bench.run(simple)


def test_a_killed_tree_goes_on_where_it_was(bench: Workbench, stack: Stack) -> None:
    child = asking()
    bench.publish(child)
    job_id = bench.start(over(child))
    until(lambda: len(jobs(bench, stack)) == 2 and "waiting" in dict(jobs(bench, stack)).values(), "the child")
    stop(bench, f"run/{job_id}")
    job = bench.ended(job_id)
    assert job["status"] == "killed"
    (child_id,) = [one for one, _ in jobs(bench, stack) if one != job_id]
    assert bench.ended(child_id)["status"] == "killed"
    with bench.http() as http:
        assert http.post(f"/v1/jobs/{job_id}/retry").status_code == 503
        assert http.delete(f"/v1/kill-switch/run/{job_id}").status_code == 200
        assert http.post(f"/v1/jobs/{job_id}/retry").status_code == 202
    _, approval = bench.asked(child_id)
    bench.vote(bench.ben, child_id, approval)
    assert bench.ended(job_id)["status"] == "completed"


def test_the_answer_says_what_still_runs(bench: Workbench, stack: Stack) -> None:
    """The process that runs the program cannot react: the switch does not claim that it has stopped."""
    seconds = "7907"
    definition = sleeping(seconds)
    bench.publish(definition)
    job_id = bench.start(definition)
    until(lambda: programs(seconds), "the program")
    held = [pid for name, pid in stack.local.pids().items() if "activities" in name or "tools" in name]
    assert held, stack.local.pids()
    with bench.http() as http:
        for pid in held:
            os.kill(pid, signal.SIGSTOP)
        try:
            found = stop(bench, f"run/{job_id}")
            assert found["still_running"] == 1, found
            (listed,) = found["running"]
            assert (listed["id"], listed["kind"], listed["status"]) == (job_id, "job", "running")
            assert programs(seconds)
        finally:
            for pid in held:
                os.kill(pid, signal.SIGCONT)
        until(lambda: http.get(f"/v1/kill-switch/run/{job_id}").json()["still_running"] == 0, "the program's end", 30)
        assert bench.ended(job_id)["status"] == "killed"
        until(lambda: not programs(seconds), "the program to be gone", 5)
        http.delete(f"/v1/kill-switch/run/{job_id}")


def test_killed_is_counted(bench: Workbench, stack: Stack) -> None:
    bench.publish(asking())
    job_id = bench.start(asking())
    bench.asked(job_id)
    stop(bench, f"run/{job_id}")
    bench.ended(job_id)
    text = httpx.get(f"{stack.base_url}/metrics", trust_env=False).text
    (line,) = [one for one in text.splitlines() if one.startswith("jobs_by_status") and '"killed"' in one]
    assert float(line.split()[-1]) >= 1


def test_a_stop_outlives_a_restart_of_everything() -> None:
    brief = {"capsule_id": "document_brief", "inputs": {"folder": "attachments"}}
    local = new_stack()
    try:
        local.up()
        tokens = {
            capability: local.run(
                "tokens", "issue", "--tenant", "acme", "--user", "ann", "--capability", capability
            ).stdout.rstrip().splitlines()[-1]
            for capability in ("*", "kill:global")
        }  # fmt: skip
        with (
            _http(local.port, tokens["*"]) as person,
            _http(local.port, tokens["kill:global"]) as operator,
        ):
            assert operator.put("/v1/kill-switch/global", json={"reason": "a drill"}).status_code == 200
            local.down()
            local.up()
            refused = person.post(
                "/v1/jobs", json={"capsule_id": "document_brief", "inputs": {"folder": "attachments"}}
            )
            assert (refused.status_code, refused.json()["code"]) == (503, "kill_switch_active")
            assert operator.get("/v1/kill-switch/global").json()["reason"] == "a drill"
            assert operator.delete("/v1/kill-switch/global").status_code == 200
            taken = person.post("/v1/jobs", json=brief)
            assert taken.status_code == 202
    finally:
        local.destroy()


def _http(port: int, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False, timeout=60)

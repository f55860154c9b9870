"""The repository within the whole stack: killed workers, and jobs that run while their capsule is recalled."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import asyncpg
import httpx

from somagent.tests.capsules.conftest import People
from somagent.tests.capsules.definitions import capsule
from somagent.tests.capsules.platform import until
from somagent.tests.harness import Stack

INSTALLATIONS = 12


def _people(stack: Stack, token: Callable[..., str]) -> People:
    tenant = f"t-{uuid4().hex[:10]}"

    def client(user: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {token(tenant, user)}"}
        return httpx.AsyncClient(base_url=stack.base_url, headers=headers, timeout=60)

    return People(tenant, client("ada"), client("ben"), client("ivy"))


async def test_killed_workers_lose_nothing(stack: Stack, token: Callable[..., str]) -> None:
    people = _people(stack, token)
    definition = capsule()
    await people.approve(definition)
    pending = await people.submit(capsule())
    pids = stack.local.pids()
    asked = await asyncio.gather(
        *(
            people.installer.post(
                "/v1/installations", json={"capsule_id": definition["id"], "environment": f"env-{number}"}
            )
            for number in range(INSTALLATIONS)
        )
    )
    assert [answer.status_code for answer in asked] == [202] * INSTALLATIONS
    for part in ("worker-activities", "worker-workflows"):
        os.kill(pids[part], signal.SIGKILL)
    settled = [await people.settled(answer.json()["id"]) for answer in asked]
    assert {found["status"] for found in settled} == {"installed"}
    assert await _told(stack, people.tenant) == {f"install-{found['id']}:installed": 1 for found in settled}

    async def approved() -> bool:
        # While the worker starts anew there may be no answer in time; the same request again gives the truth.
        answer = await people.reviewer.post(
            f"/v1/submissions/{pending['id']}/review",
            json={"decision": "approve"},
            headers={"Idempotency-Key": pending["id"]},
        )
        assert answer.status_code in (200, 503), answer.text
        return answer.status_code == 200

    await until(approved)
    found = (await people.author.get(f"/v1/submissions/{pending['id']}")).json()
    assert (found["status"], len(found["votes"])) == ("approved", 1)


async def test_a_recall_stops_the_jobs_that_run(stack: Stack, token: Callable[..., str]) -> None:
    people = _people(stack, token)
    definition = _waiting()
    await people.approve(definition)
    await people.install(definition["id"])
    started = await people.author.post("/v1/jobs", json={"capsule_id": definition["id"], "inputs": {"name": "Eva"}})
    assert started.status_code == 202, started.text
    job = f"/v1/jobs/{started.json()['id']}"

    async def is_(*statuses: str) -> bool:
        return (await people.author.get(job)).json()["status"] in statuses

    await until(lambda: is_("waiting"))
    recalled = await people.reviewer.post(
        f"/v1/capsules/{definition['id']}/versions/1.0.0/recall", json={"reason": "asks the wrong people"}
    )
    assert (recalled.status_code, recalled.json()["jobs_stopping"]) == (200, 1)
    await until(lambda: is_("cancelled"))
    refused = await people.author.post("/v1/jobs", json={"capsule_id": definition["id"], "inputs": {"name": "Eva"}})
    assert (refused.status_code, refused.json()["code"]) == (409, "capsule_recalled")


async def test_a_drained_job_comes_to_its_end(stack: Stack, token: Callable[..., str]) -> None:
    people = _people(stack, token)
    definition = _waiting()
    await people.approve(definition)
    await people.install(definition["id"])
    started = await people.author.post("/v1/jobs", json={"capsule_id": definition["id"], "inputs": {"name": "Eva"}})
    job = f"/v1/jobs/{started.json()['id']}"

    async def asking() -> dict[str, Any] | None:
        approvals = (await people.author.get(job)).json()["approvals"]
        return approvals[0] if approvals else None

    approval = await until(asking)
    body = {"reason": "asks the wrong people", "mode": "drain"}
    recalled = await people.reviewer.post(f"/v1/capsules/{definition['id']}/versions/1.0.0/recall", json=body)
    assert (recalled.status_code, recalled.json()["jobs_draining"]) == (200, 1)
    decided = await people.reviewer.post(
        f"{job}/approvals/{approval['id']}", json={"decision": "approve", "digest": approval["digest"]}
    )
    assert decided.status_code == 200, decided.text

    async def completed() -> bool:
        status: str = (await people.author.get(job)).json()["status"]
        return status == "completed"

    await until(completed)


def _waiting() -> dict[str, Any]:
    """A capsule that asks somebody before it writes."""
    definition = capsule()
    definition["tools"].append({"adapter": "human", "actions": ["approve"]})
    ask = {"id": "ask", "action": "human.approve", "params": {"question": "Greet {{ inputs.name }}?"}, "needs": []}
    greet, write = definition["workflow"]["steps"]
    definition["workflow"] = {"steps": [ask, {**greet, "needs": ["ask"]}, write]}
    return definition


async def _told(stack: Stack, tenant: str) -> dict[str, int]:
    connection = await asyncpg.connect(stack.postgres_owner_url)
    try:
        rows = await connection.fetch(
            "SELECT effect_key, count(*) AS times FROM notifications WHERE tenant_id = $1 "
            "AND effect_key LIKE 'install-%' GROUP BY effect_key",
            tenant,
        )
    finally:
        await connection.close()
    return {row["effect_key"]: row["times"] for row in rows}

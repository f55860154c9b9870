"""The whole stack, its workers killed in the middle: every installation ends, and each effect happened once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
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

"""Recalling a version: everywhere at once, and nothing new starts with it."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from somagent.services.installed import installed_capsule
from somagent.tests.capsules.conftest import People
from somagent.tests.capsules.definitions import capsule
from somagent.tests.capsules.platform import Platform


def _recall(capsule_id: str, version: str = "1.0.0") -> str:
    return f"/v1/capsules/{capsule_id}/versions/{version}/recall"


async def _job(repository: Platform, tenant: str, installation_id: str) -> UUID:
    """A job that runs, as the jobs service leaves it."""
    job_id = uuid4()
    await repository.owner_sql(
        "INSERT INTO jobs (id, tenant_id, task, status, environment, installation_id, submitted_by, budget_tokens, "
        "steps_total, workflow_id) VALUES ($1, $2, 'capsule.run', 'running', 'prod', $3, 'ada', 10, 2, $4)",
        job_id,
        tenant,
        UUID(installation_id),
        f"job-{job_id}",
    )
    return job_id


@pytest.mark.parametrize("mode", ["stop", "drain"])
async def test_every_tenants_installation_is_quarantined(
    repository: Platform, people: People, others: People, mode: str
) -> None:
    definition = capsule()
    await people.approve(definition)
    mine, theirs = await people.install(definition["id"]), await others.install(definition["id"])
    job_id = await _job(repository, others.tenant, theirs["id"])
    answer = await people.reviewer.post(_recall(definition["id"]), json={"reason": "leaks names", "mode": mode})
    assert answer.status_code == 200, answer.text
    stopping, draining = (1, 0) if mode == "stop" else (0, 1)
    assert (
        answer.json()["installations_quarantined"],
        answer.json()["jobs_stopping"],
        answer.json()["jobs_draining"],
    ) == (2, stopping, draining)
    for owner, installation in ((people, mine), (others, theirs)):
        found = (await owner.installer.get(f"/v1/installations/{installation['id']}")).json()
        assert found["status"] == "quarantined"
        told = await repository.owner_sql(
            "SELECT severity FROM notifications WHERE tenant_id = $1 AND effect_key LIKE 'recall-%'", owner.tenant
        )
        assert [row["severity"] for row in told] == ["critical"]
    flags = await repository.owner_sql("SELECT cancel_requested FROM jobs WHERE id = $1", job_id)
    assert flags[0]["cancel_requested"] is (mode == "stop")
    async with repository.app_db.connection(others.tenant) as connection:
        installed = await installed_capsule(connection, definition["id"], None, "prod")
        assert installed is not None
        assert installed.status == "quarantined"


async def test_a_recalled_version_cannot_come_back(people: People) -> None:
    capsule_id = f"note-{uuid4().hex[:8]}"
    for version in ("1.0.0", "1.1.0"):
        await people.approve(capsule(capsule_id, version))
    old = await people.install(capsule_id, version="1.0.0")
    new = await people.install(capsule_id, version="1.1.0")
    await people.reviewer.post(_recall(capsule_id), json={"reason": "wrong sums"})
    answer = await people.installer.post(f"/v1/installations/{new['id']}/rollback")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_previous_version")
    answer = await people.installer.post(
        "/v1/installations", json={"capsule_id": capsule_id, "version": "1.0.0", "environment": "test"}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "capsule_recalled")
    again = await people.reviewer.post(_recall(capsule_id), json={"reason": "wrong sums"})
    assert (again.status_code, again.json()["code"]) == (409, "capsule_recalled")
    assert old["id"] != new["id"]


async def test_from_quarantine_back_to_the_version_before(people: People) -> None:
    capsule_id = f"note-{uuid4().hex[:8]}"
    for version in ("1.0.0", "1.1.0"):
        await people.approve(capsule(capsule_id, version))
        last = await people.install(capsule_id, version=version)
    await people.reviewer.post(_recall(capsule_id, "1.1.0"), json={"reason": "wrong sums"})
    back = await people.installer.post(f"/v1/installations/{last['id']}/rollback")
    assert (back.status_code, back.json()["version"], back.json()["status"]) == (200, "1.0.0", "installed")


async def test_from_quarantine_on_to_a_newer_version(people: People) -> None:
    capsule_id = f"note-{uuid4().hex[:8]}"
    await people.approve(capsule(capsule_id, "1.0.0"))
    last = await people.install(capsule_id)
    await people.reviewer.post(_recall(capsule_id), json={"reason": "wrong sums"})
    await people.approve(capsule(capsule_id, "1.0.1"))
    answer = await people.installer.post(f"/v1/installations/{last['id']}/upgrade")
    assert answer.status_code == 202
    assert (await people.settled(answer.json()["id"]))["version"] == "1.0.1"


async def test_a_shipped_capsule_is_recalled_for_oneself(people: People, others: People) -> None:
    answer = await people.reviewer.post(_recall("shipped_note"), json={"reason": "not for us"})
    assert (answer.status_code, answer.json()["installations_quarantined"]) == (200, 1)
    ours = (await people.author.get("/v1/capsules/shipped_note", params={"version": "1.0.0"})).json()
    theirs = (await others.author.get("/v1/capsules/shipped_note", params={"version": "1.0.0"})).json()
    assert (ours["status"], theirs["status"]) == ("recalled", "approved")


async def test_only_the_publisher_recalls(people: People, others: People) -> None:
    definition = capsule()
    await people.approve(definition)
    pending = await people.submit(capsule())
    for who, capsule_id in ((others, definition["id"]), (people, pending["capsule_id"]), (people, "no-such-capsule")):
        answer = await who.reviewer.post(_recall(capsule_id), json={"reason": "mine now"})
        assert (answer.status_code, answer.json()["code"]) == (404, "capsule_not_found")
    for body in ({"reason": ""}, {"reason": "x", "mode": "burn"}):
        assert (await people.reviewer.post(_recall(definition["id"]), json=body)).status_code == 422

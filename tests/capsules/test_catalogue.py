"""What a tenant sees of capsules, and what it has from its first day."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from somagent.adapters.postgres.database import raw_connection
from somagent.domain.canonical import sha256_hex
from somagent.services.installed import frozen_capsule, installed_capsule
from somagent.services.shipped import install_shipped
from somagent.tests.capsules.conftest import People
from somagent.tests.capsules.definitions import capsule
from somagent.tests.capsules.platform import Platform


def _named(definition: dict[str, Any]) -> str:
    return f"{definition['id']}@{definition['version']}"


async def _ids(people: People, limit: int = 3) -> list[str]:
    """Every capsule that the tenant sees, read page by page."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": str(limit), **({"cursor": cursor} if cursor else {})}
        page = (await people.author.get("/v1/capsules", params=params)).json()
        assert len(page["items"]) <= limit
        found += [f"{item['id']}@{item['version']}" for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


async def test_a_tenant_sees_what_its_scope_holds(people: People, others: People) -> None:
    shared, private, pending = capsule(), capsule(), capsule()
    await people.approve(shared)
    await people.approve(private, tenant_scope=people.tenant)
    await people.submit(pending)
    ours, theirs = await _ids(people), await _ids(others)
    assert len(ours) == len(set(ours))
    assert {_named(shared), _named(private), "shipped_note@1.0.0"} <= set(ours)
    assert _named(pending) not in ours
    assert {_named(shared), "shipped_note@1.0.0"} <= set(theirs)
    assert _named(private) not in theirs
    hidden = await others.author.get(f"/v1/capsules/{private['id']}")
    assert (hidden.status_code, hidden.json()["code"]) == (404, "capsule_not_found")


async def test_pages_are_the_same_whatever_their_size(people: People) -> None:
    for _ in range(3):
        await people.approve(capsule())
    assert await _ids(people, 1) == await _ids(people, 2) == await _ids(people, 200)


async def test_one_capsule_with_contract_and_report(people: People) -> None:
    definition = capsule()
    await people.approve(definition)
    await people.approve(capsule(definition["id"], "1.1.0"))
    found = (await people.author.get(f"/v1/capsules/{definition['id']}", params={"version": "1.0.0"})).json()
    assert found["definition"] == definition
    assert found["attestation_hash"] == sha256_hex(definition)
    assert (found["source"], found["status"], found["contract"]["steps"]) == ("marketplace", "approved", 2)
    assert found["compliance_report"]["requires_review"] is False
    newest = (await people.author.get(f"/v1/capsules/{definition['id']}")).json()
    assert newest["version"] == "1.1.0"
    missing = await people.author.get(f"/v1/capsules/{definition['id']}", params={"version": "7.0.0"})
    assert (missing.status_code, missing.json()["code"]) == (404, "capsule_not_found")


async def test_a_new_tenant_has_the_shipped_capsules(repository: Platform, people: People) -> None:
    listed = (await people.installer.get("/v1/installations")).json()["items"]
    assert [(item["capsule_id"], item["status"], item["installed_by"]) for item in listed] == [
        ("shipped_note", "installed", "somagent")
    ]
    async with repository.app_db.tenant(people.tenant) as session:
        assert await install_shipped(session, people.tenant, repository.folder) == 0
    await people.installer.delete(f"/v1/installations/{listed[0]['id']}")
    async with repository.app_db.tenant(people.tenant) as session:
        assert await install_shipped(session, people.tenant, repository.folder) == 0, "uninstalled means uninstalled"


async def test_a_job_finds_what_is_installed(repository: Platform, people: People) -> None:
    definition = capsule()
    await people.approve(definition)
    installed = await people.install(definition["id"])
    async with repository.app_db.connection(people.tenant) as connection:
        found = await installed_capsule(connection, definition["id"], None, "prod")
        assert found is not None
        assert (str(found.installation_id), found.version, found.status) == (installed["id"], "1.0.0", "installed")
        assert (found.budget_tokens, [step.id for step in found.plan.steps]) == (1000, ["greet", "write"])
        for version, holds in (("1.0.0", True), ("^1.0", True), ("2.x", False), ("1.0.1", False)):
            fits = await installed_capsule(connection, definition["id"], version, "prod")
            assert (fits is not None) is holds
        assert await installed_capsule(connection, definition["id"], None, "test") is None
        again = await installed_capsule(connection, definition["id"], None, "prod")
        assert again is not None
        assert again.definition is found.definition, "parsed once"
        assert await frozen_capsule(connection, uuid4()) is None


async def test_a_session_lends_its_connection(repository: Platform, people: People) -> None:
    async with repository.app_db.tenant(people.tenant) as session:
        connection = await raw_connection(session)
        found = await installed_capsule(connection, "shipped_note", "1.0.0", "prod")
    assert found is not None

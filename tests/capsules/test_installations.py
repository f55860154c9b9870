"""Installing, upgrading, rolling back, uninstalling; and that a failure at any step leaves no trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from somagent.domain.capsules.signatures import signed_envelope
from somagent.domain.signatures import public_pem
from somagent.services.capsules.holdings import namespace_of
from somagent.tests.capsules.conftest import People
from somagent.tests.capsules.definitions import capsule
from somagent.tests.capsules.platform import Platform, until


async def _versions(people: People, count: int = 2, **changes: object) -> str:
    """A capsule with approved versions 1.0.0, 1.1.0 and so on."""
    capsule_id = f"note-{uuid4().hex[:8]}"
    for minor in range(count):
        await people.approve(capsule(capsule_id, f"1.{minor}.0", **changes))
    return capsule_id


async def test_the_newest_approved_version_is_installed(people: People) -> None:
    capsule_id = await _versions(people)
    await people.approve(capsule(capsule_id, "2.0.0-rc.1"))
    found = await people.install(capsule_id)
    assert (found["status"], found["version"], found["environment"]) == ("installed", "1.1.0", "prod")
    assert found["workflow_id"] == f"install-{found['id']}"


async def test_installed_already_is_a_conflict(people: People) -> None:
    capsule_id = await _versions(people, 1)
    await people.install(capsule_id)
    for fields in ({}, {"version": "1.0.0"}):
        answer = await people.installer.post("/v1/installations", json={"capsule_id": capsule_id, **fields})
        assert (answer.status_code, answer.json()["code"]) == (409, "already_installed")
    elsewhere = await people.install(capsule_id, environment="test")
    assert elsewhere["status"] == "installed"


async def test_nothing_approved_is_not_found(people: People, others: People) -> None:
    private = capsule()
    await people.approve(private, tenant_scope=people.tenant)
    pending = await people.submit(capsule())
    for asking, capsule_id, version in (
        (people, "no-such-capsule", None),
        (people, pending["capsule_id"], None),
        (others, private["id"], None),
        (others, private["id"], "1.0.0"),
        (people, private["id"], "9.9.9"),
    ):
        answer = await asking.installer.post("/v1/installations", json={"capsule_id": capsule_id, "version": version})
        assert (answer.status_code, answer.json()["code"]) == (404, "capsule_not_approved")


async def test_bad_input_is_refused(people: People) -> None:
    for body, path in (
        ({"capsule_id": "x", "version": "1.0"}, "version"),
        ({"capsule_id": "x", "environment": "a b"}, "environment"),
        ({"capsule_id": "x", "surprise": 1}, "surprise"),
        ({}, "capsule_id"),
    ):
        answer = await people.installer.post("/v1/installations", json=body)
        assert (answer.status_code, [fault["path"] for fault in answer.json()["errors"]]) == (422, [path])


async def test_a_capsule_of_the_folder_installs_too(people: People) -> None:
    found = await people.install("shipped_note", environment="test")
    assert (found["status"], found["source"], found["submission_id"]) == ("installed", "filesystem", None)


async def test_another_tenants_global_capsule_installs(people: People, others: People) -> None:
    capsule_id = await _versions(people, 1)
    found = await others.install(capsule_id)
    assert (found["status"], found["source"]) == ("installed", "marketplace")


async def test_a_stranger_does_not_take_over_a_known_id(people: People, others: People) -> None:
    capsule_id = await _versions(people, 1)
    await others.approve(capsule(capsule_id, "9.0.0"))
    assert (await people.install(capsule_id))["version"] == "1.0.0"
    await others.approve(capsule("shipped_note", f"9.0.{uuid4().int % 10**6}"))
    assert (await people.install("shipped_note", environment="test"))["version"] == "1.0.0"
    named = await people.install(capsule_id, version="9.0.0", environment="test")
    assert named["version"] == "9.0.0"


async def test_upgrade_and_rollback(repository: Platform, people: People) -> None:
    capsule_id = await _versions(people)
    old = await people.install(capsule_id, version="1.0.0")
    answer = await people.installer.post(f"/v1/installations/{old['id']}/upgrade")
    assert answer.status_code == 202, answer.text
    new = await people.settled(answer.json()["id"])
    assert (new["status"], new["version"], new["previous_id"]) == ("installed", "1.1.0", old["id"])
    assert await _status(people, old["id"]) == "superseded"
    newest = await people.installer.post(f"/v1/installations/{new['id']}/upgrade", json={})
    assert (newest.status_code, newest.json()["code"]) == (409, "already_installed")

    back = await people.installer.post(f"/v1/installations/{new['id']}/rollback")
    assert back.status_code == 200, back.text
    assert (back.json()["id"], back.json()["status"], back.json()["version"]) == (old["id"], "installed", "1.0.0")
    assert await _status(people, new["id"]) == "rolled_back"
    assert await _traces(repository, people, capsule_id) == (old["id"], old["id"])
    further = await people.installer.post(f"/v1/installations/{old['id']}/rollback")
    assert (further.status_code, further.json()["code"]) == (409, "no_previous_version")
    inactive = await people.installer.post(f"/v1/installations/{new['id']}/rollback")
    assert (inactive.status_code, inactive.json()["code"]) == (409, "installation_not_active")

    again = await people.install(capsule_id)
    assert (again["status"], again["version"], again["previous_id"]) == ("installed", "1.1.0", old["id"])


async def test_uninstalled_and_installed_again(repository: Platform, people: People) -> None:
    capsule_id = await _versions(people, 1)
    first = await people.install(capsule_id)
    assert (await people.installer.delete(f"/v1/installations/{first['id']}")).status_code == 204
    assert await _status(people, first["id"]) == "uninstalled"
    assert await _traces(repository, people, capsule_id) == (None, None)
    answer = await people.installer.delete(f"/v1/installations/{first['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "installation_not_active")
    second = await people.install(capsule_id)
    assert (second["status"], second["previous_id"]) == ("installed", None)


async def test_installations_are_listed(people: People, others: People) -> None:
    capsule_id = await _versions(people, 1)
    prod, test = await people.install(capsule_id), await people.install(capsule_id, environment="test")
    listed = await people.installer.get("/v1/installations", params={"capsule_id": capsule_id})
    assert [item["id"] for item in listed.json()["items"]] == [test["id"], prod["id"]]
    filtered = await people.installer.get("/v1/installations", params={"capsule_id": capsule_id, "environment": "prod"})
    assert [item["id"] for item in filtered.json()["items"]] == [prod["id"]]
    hidden = await others.installer.get(f"/v1/installations/{prod['id']}")
    assert (hidden.status_code, hidden.json()["code"]) == (404, "not_found")
    assert (await others.installer.delete(f"/v1/installations/{prod['id']}")).status_code == 404


async def test_two_at_once_install_once(people: People) -> None:
    capsule_id = await _versions(people, 1)
    answers = await asyncio.gather(
        *(people.installer.post("/v1/installations", json={"capsule_id": capsule_id}) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]


@dataclass(frozen=True, slots=True)
class Mishap:
    """Something that happens before or while version 1.1.0 is installed over 1.0.0."""

    step: str
    code: str
    prepare: Callable[[Platform, People, str], Awaitable[None]]
    meanwhile: str = ""


async def _nothing(repository: Platform, people: People, capsule_id: str) -> None:
    """All that goes wrong, goes wrong meanwhile."""


async def _tampered(repository: Platform, people: People, capsule_id: str) -> None:
    await repository.owner_sql(
        "UPDATE submissions SET definition = jsonb_set(definition, '{summary}', '\"Forged\"') "
        "WHERE capsule_id = $1 AND version = '1.1.0'",
        capsule_id,
    )


async def _fewer_adapters(repository: Platform, people: People, capsule_id: str) -> None:
    await repository.owner_sql(
        'UPDATE tenants SET settings = settings || \'{"allowed_adapters": ["text"]}\' WHERE id = $1', people.tenant
    )


async def _lower_limit(repository: Platform, people: People, capsule_id: str) -> None:
    await repository.owner_sql("UPDATE tenants SET daily_tokens = 999 WHERE id = $1", people.tenant)


async def _namespace_taken(repository: Platform, people: People, capsule_id: str) -> None:
    await repository.owner_sql(
        "UPDATE memory_namespaces SET owner_kind = 'user', owner_id = 'eve' WHERE tenant_id = $1 AND namespace = $2",
        people.tenant,
        namespace_of(capsule_id, "prod"),
    )


MISHAPS = [
    Mishap("verify_attestation", "attestation_mismatch", _tampered),
    Mishap(
        "verify_attestation",
        "capsule_recalled",
        _nothing,
        "UPDATE submissions SET status = 'recalled' WHERE id = NEW.submission_id",
    ),
    Mishap(
        "verify_attestation",
        "capsule_not_approved",
        _nothing,
        "UPDATE submissions SET status = 'rejected' WHERE id = NEW.submission_id",
    ),
    Mishap(
        "check_scope",
        "tenant_scope_mismatch",
        _nothing,
        "UPDATE submissions SET tenant_scope = 'somebody-else' WHERE id = NEW.submission_id",
    ),
    Mishap("check_tools", "tool_not_allowed", _fewer_adapters),
    Mishap("reserve_namespace", "namespace_conflict", _namespace_taken),
    Mishap("reserve_budget", "budget_above_limit", _lower_limit),
]


@pytest.mark.parametrize("mishap", MISHAPS, ids=[f"{mishap.step}-{mishap.code}" for mishap in MISHAPS])
async def test_a_failed_step_leaves_no_trace(repository: Platform, people: People, mishap: Mishap) -> None:
    capsule_id = await _versions(people)
    old = await people.install(capsule_id, version="1.0.0")
    await mishap.prepare(repository, people, capsule_id)
    async with _after_insert(repository, "installations", people.tenant, mishap.meanwhile):
        failed = await people.install(capsule_id, version="1.1.0")
    assert failed["status"] == "failed"
    assert (failed["error"]["code"], failed["error"]["step"]) == (mishap.code, mishap.step)
    assert await _status(people, old["id"]) == "installed"
    budget, namespace = await _traces(repository, people, capsule_id)
    assert budget == old["id"]
    assert namespace in (old["id"], "eve")


@pytest.mark.parametrize("mishap", MISHAPS, ids=[f"{mishap.step}-{mishap.code}" for mishap in MISHAPS])
async def test_a_failed_first_installation_leaves_nothing(repository: Platform, people: People, mishap: Mishap) -> None:
    capsule_id = await _versions(people)
    await mishap.prepare(repository, people, capsule_id)
    if mishap.code == "namespace_conflict":
        await repository.owner_sql(
            "INSERT INTO memory_namespaces (tenant_id, namespace, owner_kind, owner_id) VALUES ($1, $2, 'user', 'eve')",
            people.tenant,
            namespace_of(capsule_id, "prod"),
        )
    async with _after_insert(repository, "installations", people.tenant, mishap.meanwhile):
        failed = await people.install(capsule_id, version="1.1.0")
    assert (failed["status"], failed["error"]["code"]) == ("failed", mishap.code)
    budget, namespace = await _traces(repository, people, capsule_id)
    assert (budget, namespace) == (None, "eve" if mishap.code == "namespace_conflict" else None)


async def test_a_recall_before_the_last_step_undoes_every_one(repository: Platform, people: People) -> None:
    capsule_id = await _versions(people)
    old = await people.install(capsule_id, version="1.0.0")
    recall = "UPDATE submissions SET status = 'recalled' WHERE capsule_id = NEW.capsule_id AND version = '1.1.0'"
    async with _after_insert(repository, "capsule_budgets", people.tenant, recall, "INSERT OR UPDATE"):
        failed = await people.install(capsule_id, version="1.1.0")
    assert (failed["status"], failed["error"]["code"], failed["error"]["step"]) == (
        "failed",
        "capsule_recalled",
        "activate",
    )
    assert await _status(people, old["id"]) == "installed"
    assert await _traces(repository, people, capsule_id) == (old["id"], old["id"])


async def test_a_revoked_key_stops_the_installation(people: People) -> None:
    key = Ed25519PrivateKey.generate()
    registered = await people.author.post("/v1/signing-keys", json={"public_key": public_pem(key.public_key())})
    key_id = registered.json()["key_id"]
    definition = capsule()
    signature = signed_envelope(definition, key)
    await people.approve(definition, attestation_signature=signature, signer_key_id=key_id)
    assert (await people.install(definition["id"]))["status"] == "installed"
    await people.author.delete(f"/v1/signing-keys/{key_id}")
    failed = await people.install(definition["id"], environment="test")
    assert (failed["status"], failed["error"]["code"]) == ("failed", "signing_key_unknown")


async def test_a_namespace_that_the_capsule_reads_must_be_shared(repository: Platform, people: People) -> None:
    definition = capsule(knowledge=[{"namespace": "ledger", "query": "what was booked"}])
    await people.approve(definition)
    await repository.owner_sql(
        "INSERT INTO memory_namespaces (tenant_id, namespace, owner_kind, owner_id) "
        "VALUES ($1, 'ledger', 'user', 'eve')",
        people.tenant,
    )
    failed = await people.install(definition["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "namespace_conflict")
    assert await _traces(repository, people, definition["id"]) == (None, None)
    await repository.owner_sql("UPDATE memory_namespaces SET shared = true WHERE namespace = 'ledger'")
    assert (await people.install(definition["id"]))["status"] == "installed"


async def test_a_cancelled_installation_is_undone(repository: Platform, people: People) -> None:
    capsule_id = await _versions(people, 1)
    # The budget row cannot be written for a while; cancelled meanwhile, the installation ends before its last step.
    async with _after_insert(
        repository, "capsule_budgets", people.tenant, "RAISE EXCEPTION 'the disk is full'", "INSERT OR UPDATE"
    ):
        answer = await people.installer.post("/v1/installations", json={"capsule_id": capsule_id})
        handle = repository.temporal.get_workflow_handle(answer.json()["workflow_id"])

        await until(lambda: _tries_again(handle))
        await handle.cancel()
    failed = await people.settled(answer.json()["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "cancelled")
    assert await _traces(repository, people, capsule_id) == (None, None)


async def test_a_database_error_is_waited_out(repository: Platform, people: People) -> None:
    capsule_id = await _versions(people)
    old = await people.install(capsule_id, version="1.0.0")
    async with _after_insert(
        repository, "installations", people.tenant, "RAISE EXCEPTION 'the disk is full'", "UPDATE"
    ):
        answer = await people.installer.post("/v1/installations", json={"capsule_id": capsule_id})
        handle = repository.temporal.get_workflow_handle(answer.json()["workflow_id"])

        await until(lambda: _tries_again(handle))
        assert await _status(people, answer.json()["id"]) == "installing"
        busy = await people.installer.delete(f"/v1/installations/{old['id']}")
        assert (busy.status_code, busy.json()["code"]) == (409, "installation_not_active")
    assert (await people.settled(answer.json()["id"]))["status"] == "installed"


async def _tries_again(handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether an activity has failed and is repeated; the workflow starts a moment after the request's answer."""
    try:
        described = await handle.describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return any(item.attempt > 1 for item in described.raw_description.pending_activities)


async def _status(people: People, installation_id: str) -> str:
    found: dict[str, str] = (await people.installer.get(f"/v1/installations/{installation_id}")).json()
    return found["status"]


async def _traces(repository: Platform, people: People, capsule_id: str) -> tuple[str | None, str | None]:
    """Who the budget row and the namespace in prod belong to."""
    budgets = await repository.owner_sql(
        "SELECT installation_id::text AS owner FROM capsule_budgets WHERE tenant_id = $1 AND capsule_id = $2 "
        "AND environment = 'prod'",
        people.tenant,
        capsule_id,
    )
    namespaces = await repository.owner_sql(
        "SELECT owner_id AS owner FROM memory_namespaces WHERE tenant_id = $1 AND namespace = $2",
        people.tenant,
        namespace_of(capsule_id, "prod"),
    )
    return (budgets[0]["owner"] if budgets else None, namespaces[0]["owner"] if namespaces else None)


@asynccontextmanager
async def _after_insert(
    repository: Platform, table: str, tenant: str, statement: str, when: str = "INSERT"
) -> AsyncIterator[None]:
    """For a tenant's rows, let ``statement`` happen with each change, in its transaction: what others do meanwhile."""
    if not statement:
        yield
        return
    name = f"meanwhile_{uuid4().hex}"
    await repository.owner_sql(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN {statement}; "
        "RETURN NEW; END $$"
    )
    await repository.owner_sql(
        f"CREATE TRIGGER {name} AFTER {when} ON {table} FOR EACH ROW WHEN (NEW.tenant_id = '{tenant}') "
        f"EXECUTE FUNCTION {name}()"
    )
    try:
        yield
    finally:
        await repository.owner_sql(f"DROP TRIGGER {name} ON {table}")
        await repository.owner_sql(f"DROP FUNCTION {name}()")

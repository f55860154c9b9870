"""What happens when the constitution cannot be verified: nothing governed, and it is said why."""

from __future__ import annotations

import json

import asyncpg
import pytest

from somagent.domain.policy.constitution import parse_constitution
from somagent.tests.capsules.platform import until
from somagent.tests.constitution.conftest import Assembly
from somagent.tests.constitution.documents import Json, content

EVALUATE = {"session_id": "s", "user": "ada", "prompt": "Sum up the tickets.", "role": "summarization"}


async def evaluated(assembly: Assembly) -> tuple[int, Json]:
    """What the policy engine says to a harmless prompt."""
    answer = await assembly.ada.post("/v1/evaluate", json={**EVALUATE, "tenant": assembly.tenant, "metadata": {}})
    return answer.status_code, answer.json()


async def refused(assembly: Assembly) -> str:
    """The reason, once everything governed is refused."""

    async def broken() -> Json | None:
        found = await assembly.in_force()
        return None if found["verified"] else found

    found: Json = await until(broken)
    status, answer = await evaluated(assembly)
    assert (status, answer["code"]) == (503, "constitution_unverifiable"), answer
    job = await assembly.ada.post("/v1/jobs", json={"capsule_id": "any", "inputs": {}})
    assert (job.status_code, job.json()["code"]) == (503, "constitution_unverifiable"), job.text
    session = await assembly.ada.post("/v1/sessions", json={"prompt": "Hello"})
    assert (session.status_code, session.json()["code"]) == (503, "constitution_unverifiable"), session.text
    return str(found["problem"])


async def test_content_changed_behind_its_signature(assembly: Assembly, others: Assembly) -> None:
    await assembly.enact(content(2))
    status, answer = await evaluated(assembly)
    assert status == 200, answer
    await assembly.platform.owner_sql(
        "UPDATE constitutions SET content = jsonb_set(content, '{threshold}', '0.01') WHERE tenant_id = $1",
        assembly.tenant,
    )
    assert "hash" in await refused(assembly)
    assert (await evaluated(others))[0] == 200, "another tenant goes on"
    # People repair it as they change it: by another version, which they sign and approve.
    await assembly.enact(content(3))
    assert (await assembly.in_force())["verified"]
    assert (await evaluated(assembly))[0] == 200


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE constitutions SET content = '[]'",
        "UPDATE constitutions SET content = '{\"version\": 2}'",
        "UPDATE constitutions SET content = jsonb_set(content, '{threshold}', '\"0.7\"')",
        "UPDATE constitutions SET signature = '{\"payload'",
        "UPDATE constitutions SET signature = ''",
        "UPDATE constitutions SET signer_key_id = 'nobody'",
        "UPDATE constitutions SET version = 9",
        "UPDATE signing_keys SET public_key = 'no key at all'",
    ],
)
async def test_a_row_that_is_broken_in_any_way(assembly: Assembly, others: Assembly, damage: str) -> None:
    await assembly.enact(content(2))
    await assembly.platform.owner_sql(damage + " WHERE tenant_id = $1", assembly.tenant)
    assert await refused(assembly)
    assert (await assembly.ada.get(f"/v1/constitution/{assembly.tenant}/versions")).status_code == 200
    await others.enact(content(2))
    assert (await evaluated(others))[0] == 200


async def test_content_and_hash_changed_behind_the_signature(assembly: Assembly) -> None:
    await assembly.enact(content(2))
    lax = content(2, threshold=0.0)
    await assembly.platform.owner_sql(
        "UPDATE constitutions SET content = $2::text::jsonb, hash = $3 WHERE tenant_id = $1",
        assembly.tenant,
        *_with_hash(lax),
    )
    assert "signature" in await refused(assembly)


async def test_a_key_that_is_gone_or_replaced(assembly: Assembly, others: Assembly) -> None:
    for people in (assembly, others):
        await people.enact(content(2))
    await assembly.platform.owner_sql("DELETE FROM signing_keys WHERE tenant_id = $1", assembly.tenant)
    assert "key signer" in await refused(assembly)
    await others.platform.owner_sql(
        "UPDATE signing_keys SET public_key = $2 WHERE tenant_id = $1",
        others.tenant,
        assembly.signer.registration["public_key"],
    )
    assert "signature" in await refused(others)


async def test_a_revoked_key_keeps_what_it_signed_in_force_and_signs_nothing_more(assembly: Assembly) -> None:
    await assembly.enact(content(2))
    assert (await assembly.ada.delete("/v1/signing-keys/signer")).status_code == 204
    assert (await assembly.in_force())["verified"]
    answer = await assembly.ada.post("/v1/constitution/proposals", json=assembly.signer.signed(content(3)))
    assert (answer.status_code, answer.json()["code"]) == (422, "signing_key_unknown")


async def test_a_version_that_was_taken_away_does_not_let_an_older_one_back(assembly: Assembly) -> None:
    await assembly.enact(content(2))
    await assembly.enact(content(3, threshold=0.9))
    await assembly.platform.owner_sql("DELETE FROM constitutions WHERE tenant_id = $1 AND version = 3", assembly.tenant)
    assert "version 3" in await refused(assembly)
    await assembly.platform.owner_sql("DELETE FROM constitutions WHERE tenant_id = $1", assembly.tenant)
    assert "version 3" in await refused(assembly)


async def test_the_database_takes_rising_versions_only_and_lets_nobody_change_one(assembly: Assembly) -> None:
    await assembly.enact(content(5))
    insert = (
        "INSERT INTO constitutions (tenant_id, version, content, hash, signature, signer_key_id) "
        "SELECT tenant_id, $2, content, hash, signature, signer_key_id FROM constitutions WHERE tenant_id = $1"
    )
    with pytest.raises(asyncpg.CheckViolationError):
        await assembly.platform.owner_sql(insert, assembly.tenant, 4)
    async with assembly.platform.app_db.connection(assembly.tenant) as connection:
        for statement in ("UPDATE constitutions SET hash = ''", "DELETE FROM constitutions"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


def _with_hash(document: Json) -> tuple[str, str]:
    return json.dumps(document), parse_constitution(document).content_hash

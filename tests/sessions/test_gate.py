"""The gate's order, one stage at a time: each refusal comes although every later stage would refuse as well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from somagent.tests.capsules.platform import until
from somagent.tests.sessions.world import Person, World

BAD = "Write an exploit for this kernel and build a bomb."
GOVERNED = ("x-policy-decision", "x-constitution-hash")


@asynccontextmanager
async def stopped(world: World, scope: str, tenant: str, target: str) -> AsyncIterator[None]:
    """While a kill switch is engaged, as its row says."""
    await world.sql(
        "INSERT INTO kill_switches (id, scope, tenant_id, target, reason, engaged_by) "
        "VALUES (gen_random_uuid(), $1, $2, $3, 'a drill', 'ops')",
        scope,
        tenant,
        target,
    )
    try:
        yield
    finally:
        await world.sql("UPDATE kill_switches SET lifted_at = now(), lifted_by = 'ops' WHERE lifted_at IS NULL")


async def refused(person: Person, status: int, code: str, **body: Any) -> httpx.Response:
    """A session that is refused, once what governs has reached the process."""

    async def ask() -> httpx.Response | None:
        answer = await person.http.post("/v1/sessions", json={"prompt": BAD, **body})
        return answer if answer.json().get("code") == code else None

    answer: httpx.Response = await until(ask)
    assert answer.status_code == status, answer.text
    return answer


async def allowed(person: Person, prompt: str = "Good morning") -> None:
    """A session that is let in, once what governs has reached the process."""

    async def ask() -> bool:
        return (await person.http.post("/v1/sessions", json={"prompt": prompt})).status_code == 201

    await until(ask)


async def test_the_global_switch_comes_before_the_token(sessions: World, ann: Person) -> None:
    async with stopped(sessions, "global", "", ""):
        answer = await refused(ann, 503, "kill_switch_active")
        assert answer.headers["x-policy-decision"] == "refuse"
        async with httpx.AsyncClient(base_url=sessions.url) as nobody:
            answer = await nobody.post("/v1/sessions", json={"prompt": BAD})
            chat = await nobody.post("/v1/chat/completions", json={})
        assert (answer.status_code, answer.json()["code"]) == (503, "kill_switch_active")
        assert (chat.status_code, chat.json()["code"]) == (503, "kill_switch_active")
        assert int(answer.headers["retry-after"]) > 0
    await allowed(ann)


async def test_the_token_comes_before_the_tenants_switch(sessions: World, ann: Person) -> None:
    async with stopped(sessions, "tenant", ann.tenant, ann.tenant):
        await refused(ann, 503, "kill_switch_active")
        async with httpx.AsyncClient(base_url=sessions.url) as nobody:
            answer = await nobody.post("/v1/sessions", json={"prompt": BAD})
        assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")
        weak = await sessions.person(ann.tenant, "ann", "job:read")
        answer = await weak.http.post("/v1/sessions", json={"prompt": BAD})
        assert (answer.status_code, answer.json()["code"]) == (403, "capability_missing")
    await allowed(ann)


async def test_the_capsules_switch_comes_before_residency(sessions: World, ann: Person) -> None:
    async with stopped(sessions, "capsule", ann.tenant, "resident"):
        await refused(ann, 503, "kill_switch_active", capsule_id="resident")
        await allowed(ann)
    await refused(ann, 403, "residency_refused", capsule_id="resident")


async def test_residency_comes_before_moderation(sessions: World, ann: Person) -> None:
    answer = await refused(ann, 403, "residency_refused", metadata={"region": "us-1"})
    assert answer.headers["x-policy-decision"] == "refuse"
    await sessions.sql("""UPDATE tenants SET settings = '{"residency": ["us-1", "ap-1"]}' WHERE id = $1""", ann.tenant)
    await refused(ann, 403, "residency_refused")
    await sessions.sql("""UPDATE tenants SET settings = '{"residency": ["EU-1"]}' WHERE id = $1""", ann.tenant)
    await allowed(ann)
    strikes = await sessions.sql("SELECT count(*) FROM moderation_strikes WHERE tenant_id = $1", ann.tenant)
    assert strikes[0]["count"] == 0


async def test_what_the_metadata_says_of_the_act_is_judged(ann: Person) -> None:
    risky = {"prompt": "Tidy the shelf", "metadata": {"risk": 1, "confidence": 0, "project": "shelf"}}
    answer = await ann.http.post("/v1/sessions", json=risky)
    assert (answer.status_code, answer.json()["code"]) == (403, "policy_refused")
    assert float(answer.headers["X-Policy-Score"]) == pytest.approx(0.5)
    wrong = {"prompt": "Tidy the shelf", "metadata": {"risk": 7, "confidence": "much"}}
    answer = await ann.http.post("/v1/sessions", json=wrong)
    assert answer.status_code == 422
    assert {fault["path"] for fault in answer.json()["errors"]} == {"metadata.risk", "metadata.confidence"}


async def test_moderation_comes_before_policy(sessions: World, ann: Person) -> None:
    rule = {"name": "no-kernels", "pattern": "kernel", "hard": True}
    answer = await ann.http.post(f"/v1/policies/{ann.tenant}/rules", json=rule)
    assert answer.status_code == 201, answer.text
    await refused(ann, 403, "moderation_refused")
    decided = await sessions.sql("SELECT count(*) FROM policy_decisions WHERE tenant_id = $1", ann.tenant)
    assert decided[0]["count"] == 0
    answer = await ann.http.post("/v1/sessions", json={"prompt": "Tell me about the kernel"})
    assert (answer.status_code, answer.json()["code"]) == (403, "policy_refused")
    assert answer.headers["x-policy-decision"] == "refuse"
    assert float(answer.headers["x-policy-score"]) > 0
    assert len(answer.headers["x-constitution-hash"]) == 64


async def test_without_the_record_of_strikes_no_prompt_passes(sessions: World, ann: Person) -> None:
    await sessions.sql("ALTER TABLE moderation_strikes RENAME TO away")
    try:
        answer = await ann.http.post("/v1/sessions", json={"prompt": "Good morning"})
        chat = await ann.http.post(
            "/v1/chat/completions", json={"messages": [{"role": "user", "content": "Good morning"}]}
        )
    finally:
        await sessions.sql("ALTER TABLE away RENAME TO moderation_strikes")
    for refusal in (answer, chat):
        assert (refusal.status_code, refusal.json()["code"]) == (503, "moderation_unavailable")
        assert refusal.headers["x-policy-decision"] == "refuse"
        assert "x-policy-score" not in refusal.headers
    await allowed(ann)


async def test_what_cannot_be_verified_lets_nobody_in(sessions: World, ann: Person) -> None:
    await sessions.sql(
        "INSERT INTO constitutions (tenant_id, version, content, hash, signature, signer_key_id) "
        "SELECT $1, version + 1, content, hash, signature, signer_key_id FROM constitutions WHERE tenant_id = ''",
        ann.tenant,
    )
    answer = await refused_morning(ann)
    assert answer.headers["x-policy-decision"] == "refuse"
    assert "x-policy-score" not in answer.headers


async def refused_morning(person: Person) -> httpx.Response:
    """A harmless session that is refused for want of a constitution."""

    async def ask() -> httpx.Response | None:
        answer = await person.http.post("/v1/sessions", json={"prompt": "Good morning"})
        return answer if answer.status_code == 503 else None

    answer: httpx.Response = await until(ask)
    assert answer.json()["code"] == "constitution_unverifiable"
    return answer


async def test_every_refusal_is_audited_with_its_stage(sessions: World, ann: Person) -> None:
    await refused(ann, 403, "residency_refused", metadata={"region": "us-1"})
    await refused(ann, 409, "capsule_not_installed", capsule_id="nowhere")
    await refused(ann, 403, "moderation_refused")

    async def audited() -> list[Any]:
        answer = await ann.http.get("/v1/audit", params={"action": "session.refused"})
        assert answer.status_code == 200, answer.text
        entries: list[Any] = answer.json()["items"]
        return entries if len(entries) == 3 else []

    entries = await until(audited)
    assert [entry["detail"]["stage"] for entry in entries] == ["moderation", "capsule", "residency"]
    assert all(entry["outcome"] == "refused" for entry in entries)
    assert BAD not in str(entries)


async def test_a_verdict_that_lets_in_is_in_the_headers_and_on_record(sessions: World, ann: Person) -> None:
    answer = await ann.http.post("/v1/sessions", json={"prompt": "Good morning"})
    body = answer.json()
    assert answer.headers["x-policy-decision"] == "allow"
    assert float(answer.headers["x-policy-score"]) == body["policy"]["score"]
    assert answer.headers["x-constitution-hash"] == body["policy"]["reasons"]["constitution_hash"]
    row = await sessions.sql("SELECT source, object, allowed FROM policy_decisions WHERE tenant_id = $1", ann.tenant)
    assert dict(row[0]) == {"source": "session", "object": f"session:{body['session_id']}", "allowed": True}


async def test_each_turn_passes_the_gate_again(sessions: World, ann: Person) -> None:
    started = await ann.start("Good morning")
    path = f"/v1/sessions/{started['session_id']}/turns"
    answer = await ann.http.post(path, json={"prompt": BAD})
    assert (answer.status_code, answer.json()["code"]) == (403, "moderation_refused")
    async with stopped(sessions, "tenant", ann.tenant, ann.tenant):
        await refused(ann, 503, "kill_switch_active")
        answer = await ann.http.post(path, json={"prompt": "Good morning"})
        assert (answer.status_code, answer.json()["code"]) == (503, "kill_switch_active")
    assert (await ann.session(started["session_id"]))["turn_count"] == 1


@pytest.mark.parametrize("body", [{}, {"prompt": ""}, {"prompt": "x", "more": 1}, {"prompt": 7}])
async def test_what_is_no_session_is_refused_with_every_fault(ann: Person, body: dict[str, Any]) -> None:
    answer = await ann.http.post("/v1/sessions", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]

"""Votes: who may cast them, when, and what they decide."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from somagent.deploy.local.ports import HOST, free_port
from somagent.domain.canonical import sha256_hex
from somagent.tests.capsules.conftest import People
from somagent.tests.capsules.definitions import capsule, submission
from somagent.tests.capsules.platform import Platform, api, until


def _review(submission_id: str) -> str:
    return f"/v1/submissions/{submission_id}/review"


async def test_the_answer_holds_the_new_status(people: People) -> None:
    found = await people.submit(capsule())
    answer = await people.reviewer.post(_review(found["id"]), json={"decision": "approve", "notes": "sound"})
    assert answer.status_code == 200
    decided = answer.json()
    assert decided["status"] == "approved"
    assert decided["decided_at"] is not None
    assert [(vote["reviewer"], vote["decision"], vote["notes"]) for vote in decided["votes"]] == [
        ("ben", "approve", "sound")
    ]


async def test_every_check_leaves_a_finding(people: People) -> None:
    found = await people.submit(capsule())
    checks = {finding["check"] for finding in found["findings"]}
    assert checks == {"schema", "lint", "attestation", "policy_scan", "dag", "dry_run"}
    assert {finding["severity"] for finding in found["findings"]} <= {"info", "warning", "blocking"}


async def test_the_submitter_has_no_vote(people: People) -> None:
    found = await people.submit(capsule())
    for decision in ("approve", "reject"):
        answer = await people.author.post(_review(found["id"]), json={"decision": decision})
        assert (answer.status_code, answer.json()["code"]) == (403, "self_review_forbidden")
    assert (await people.author.get(f"/v1/submissions/{found['id']}")).json()["votes"] == []


async def test_a_decided_submission_takes_no_votes(people: People) -> None:
    decided = await people.approve(capsule())
    for voter in (people.reviewer, people.installer):
        answer = await voter.post(_review(decided["id"]), json={"decision": "reject"})
        assert (answer.status_code, answer.json()["code"]) == (409, "submission_decided")


async def test_a_quorum_of_approvals_approves(repository: Platform, people: People) -> None:
    await repository.owner_sql("UPDATE tenants SET review_quorum = 2 WHERE id = $1", people.tenant)
    found = await people.submit(capsule())
    assert found["quorum"] == 2
    first = await people.reviewer.post(_review(found["id"]), json={"decision": "approve"})
    assert (first.status_code, first.json()["status"]) == (200, "pending")
    again = await people.reviewer.post(_review(found["id"]), json={"decision": "approve"})
    assert (again.status_code, again.json()["code"]) == (409, "already_voted")
    second = await people.installer.post(_review(found["id"]), json={"decision": "approve"})
    assert (second.status_code, second.json()["status"]) == (200, "approved")


async def test_one_rejection_rejects(repository: Platform, people: People) -> None:
    await repository.owner_sql("UPDATE tenants SET review_quorum = 3 WHERE id = $1", people.tenant)
    definition = capsule()
    found = await people.submit(definition)
    answer = await people.reviewer.post(_review(found["id"]), json={"decision": "reject", "notes": "unclear"})
    assert (answer.status_code, answer.json()["status"]) == (200, "rejected")
    assert (await people.submit(definition))["status"] == "pending"


async def test_votes_at_once_decide_once(repository: Platform, people: People) -> None:
    await repository.owner_sql("UPDATE tenants SET review_quorum = 2 WHERE id = $1", people.tenant)
    found = await people.submit(capsule())
    voters = [await repository.client(people.tenant, f"voter-{number}") for number in range(5)]
    answers = await asyncio.gather(
        *(voter.post(_review(found["id"]), json={"decision": "approve"}) for voter in voters)
    )
    assert sorted(answer.status_code for answer in answers) == [200, 200, 409, 409, 409]
    events = await repository.owner_sql(
        "SELECT payload FROM outbox WHERE key = $1 AND payload ->> 'type' = 'capsule.submission.approved'", found["id"]
    )
    assert len(events) == 1


async def test_the_same_key_gives_the_same_answer(people: People) -> None:
    found = await people.submit(capsule())
    headers = {"Idempotency-Key": uuid4().hex}
    answers = [
        await people.reviewer.post(_review(found["id"]), json={"decision": "approve"}, headers=headers)
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert len(answers[1].json()["votes"]) == 1


async def test_a_vote_on_a_replaced_revision_does_not_count(people: People) -> None:
    definition = capsule()
    found = await people.submit(definition)
    changed = {**definition, "summary": "Writes another greeting into a file"}
    body = {"definition": changed, "attestation_hash": sha256_hex(changed)}
    await people.author.put(f"/v1/submissions/{found['id']}", json=body)
    answer = await people.reviewer.post(_review(found["id"]), json={"decision": "approve"})
    if answer.status_code == 409:
        assert answer.json()["code"] == "review_not_ready"
    else:
        assert answer.json()["revision"] == 2


async def test_an_override_needs_its_capability(repository: Platform, people: People) -> None:
    found = await people.submit(capsule())
    plain = await repository.client(people.tenant, "carl", "capsule:review", "capsule:read")
    answer = await plain.post(_review(found["id"]), json={"decision": "approve", "is_override": True})
    assert (answer.status_code, answer.json()["code"]) == (403, "capability_missing")
    assert "capsule:override" in answer.json()["detail"]


async def test_blocking_findings_stand_against_approval_without_override(people: People) -> None:
    definition = capsule()
    definition["workflow"]["steps"][0]["params"]["values"] = {"key": "AKIAIOSFODNN7EXAMPLE"}
    found = await people.submit(definition)
    blocking = [finding for finding in found["findings"] if finding["severity"] == "blocking"]
    assert [finding["path"] for finding in blocking] == ["workflow.steps[0].params.values.key"]
    assert "AKIAIOSFODNN7EXAMPLE" not in blocking[0]["detail"]
    answer = await people.reviewer.post(_review(found["id"]), json={"decision": "approve"})
    assert (answer.status_code, answer.json()["code"]) == (409, "blocking_findings")
    overridden = await people.reviewer.post(
        _review(found["id"]), json={"decision": "approve", "is_override": True, "notes": "an example key"}
    )
    assert (overridden.status_code, overridden.json()["status"]) == (200, "approved")
    assert overridden.json()["votes"][0]["is_override"] is True


async def test_blocking_findings_do_not_stand_against_rejection(people: People) -> None:
    definition = capsule()
    definition["workflow"]["steps"][0]["params"]["values"] = {"key": "AKIAIOSFODNN7EXAMPLE"}
    found = await people.submit(definition)
    answer = await people.reviewer.post(_review(found["id"]), json={"decision": "reject"})
    assert (answer.status_code, answer.json()["status"]) == (200, "rejected")


async def test_a_changed_row_is_found_out(repository: Platform, people: People) -> None:
    found = await people.submit(capsule())
    await _forge_at_replacement(repository, people, found)
    forged = await people.examined(found["id"])
    codes = [finding["code"] for finding in forged["findings"] if finding["severity"] == "blocking"]
    assert codes == ["attestation_mismatch"]


async def _forge_at_replacement(repository: Platform, people: People, found: dict[str, Any]) -> None:
    """Replace the definition with itself, while somebody changes the row behind the service's back."""
    await repository.owner_sql(
        "CREATE FUNCTION forge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW.attestation_hash := repeat('0', 64); RETURN NEW; END $$"
    )
    await repository.owner_sql(
        "CREATE TRIGGER forge BEFORE UPDATE ON submissions FOR EACH ROW "
        f"WHEN (NEW.revision > OLD.revision AND NEW.id = '{found['id']}') EXECUTE FUNCTION forge()"
    )
    try:
        body = {"definition": found["definition"], "attestation_hash": found["attestation_hash"]}
        answer = await people.author.put(f"/v1/submissions/{found['id']}", json=body)
        assert answer.status_code == 200, answer.text
    finally:
        await repository.owner_sql("DROP FUNCTION forge() CASCADE")


async def test_shell_and_http_are_warnings(people: People) -> None:
    definition = capsule(tools=[{"adapter": "shell", "actions": ["execute"]}], outputs={})
    definition["workflow"] = {
        "steps": [{"id": "list", "action": "shell.execute", "params": {"command": ["ls", "{{ inputs.name }}"]}}]
    }
    found = await people.submit(definition)
    scan = [finding for finding in found["findings"] if finding["check"] == "policy_scan"]
    assert {finding["severity"] for finding in scan} == {"warning"}
    answer = await people.reviewer.post(_review(found["id"]), json={"decision": "approve"})
    assert answer.json()["status"] == "approved"


async def test_without_temporal_a_vote_is_pending_and_a_submission_is_taken(
    repository: Platform, people: People
) -> None:
    found = await people.submit(capsule())
    definition = capsule()
    settings = repository.settings.model_copy(update={"temporal_address": f"{HOST}:{free_port()}"})
    async with api(settings) as url:
        reviewer = await repository.client(people.tenant, "ben", url=url)
        author = await repository.client(people.tenant, "ada", url=url)
        answer = await reviewer.post(_review(found["id"]), json={"decision": "approve"})
        assert (answer.status_code, answer.json()["code"]) == (503, "decision_pending")
        assert int(answer.headers["Retry-After"]) >= 1
        own = await author.post(_review(found["id"]), json={"decision": "approve"})
        assert (own.status_code, own.json()["code"]) == (403, "self_review_forbidden")
        taken = await author.post("/v1/submissions", json=submission(definition))
        assert taken.status_code == 202
        early = await reviewer.post(_review(taken.json()["id"]), json={"decision": "approve"})
        assert (early.status_code, early.json()["code"]) == (409, "review_not_ready")
    orders = await repository.owner_sql(
        "SELECT payload FROM outbox WHERE kind = 'workflow.start' AND key = $1", taken.json()["workflow_id"]
    )
    assert len(orders) == 1, "the relay starts it when Temporal is back"
    again = await people.reviewer.post(_review(found["id"]), json={"decision": "approve"})
    assert (again.status_code, again.json()["status"]) == (200, "approved")


async def test_people_hear_of_it(repository: Platform, people: People) -> None:
    decided = await people.approve(capsule())
    rows = await repository.owner_sql(
        "SELECT user_id, message FROM notifications WHERE effect_key LIKE $1 ORDER BY created_at",
        f"review-{decided['id']}%",
    )
    assert [row["user_id"] for row in rows] == [None, "ada"]


async def test_operators_find_the_review(repository: Platform, people: People) -> None:
    decided = await people.approve(capsule())

    async def closed() -> bool:
        described = await repository.temporal.get_workflow_handle(decided["workflow_id"]).describe()
        return described.close_time is not None

    await until(closed)
    described = await repository.temporal.get_workflow_handle(decided["workflow_id"]).describe()
    assert await described.static_summary() == f"Review of {decided['capsule_id']} {decided['version']}"
    attributes = {pair.key.name: pair.value for pair in described.typed_search_attributes}
    assert attributes["SomaTenant"] == people.tenant
    assert attributes["SomaCapsule"] == decided["capsule_id"]
    assert attributes["SomaStatus"] == "approved"
    assert (await described.memo())["submission_id"] == decided["id"]

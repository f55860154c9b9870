"""From a proposal to what is in force, and everything that keeps one out."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from somagent.deploy.local.ports import HOST, free_port
from somagent.domain.canonical import canonical_bytes
from somagent.domain.policy.bundles import CONSTITUTION_PAYLOAD_TYPE
from somagent.domain.policy.constitution import DEFAULT_HASH, Constitution
from somagent.domain.signatures import envelope
from somagent.tests.capsules.platform import api, until
from somagent.tests.constitution.conftest import Assembly
from somagent.tests.constitution.documents import Json, Signer, content

PROPOSALS = "/v1/constitution/proposals"


async def refusal(assembly: Assembly, body: Json) -> tuple[int, str, set[str]]:
    """Status, code and the faults' paths of a proposal that is not taken."""
    answer = await assembly.ada.post(PROPOSALS, json=body)
    problem = answer.json()
    assert (await assembly.in_force())["version"] == 1
    return answer.status_code, problem["code"], {fault["path"] for fault in problem.get("errors", ())}


async def test_two_approvals_bring_it_into_force(assembly: Assembly) -> None:
    before = await assembly.in_force()
    assert (before["version"], before["hash"], before["inherited"], before["verified"]) == (1, DEFAULT_HASH, True, True)
    proposal = await assembly.propose(content(2, threshold=0.75), notes="a little stricter")
    assert (proposal["status"], proposal["quorum"], proposal["proposer"]) == ("pending", 2, "ada")
    assert {finding["code"] for finding in proposal["findings"]} == {"verified", "changes", "rehearsed"}
    first = await assembly.vote(assembly.ben, proposal)
    assert (first.status_code, first.json()["status"]) == (200, "pending"), first.text
    assert (await assembly.in_force())["version"] == 1, "half approved is not in force"
    second = await assembly.vote(assembly.cyd, proposal)
    assert (second.status_code, second.json()["status"]) == (200, "activated"), second.text
    after = await assembly.in_force()
    assert (after["version"], after["inherited"], after["verified"]) == (2, False, True)
    assert after["hash"] == proposal["hash"] == Constitution.model_validate(content(2, threshold=0.75)).content_hash
    assert after["content"] == content(2, threshold=0.75)
    assert (await assembly.ben.get("/v1/constitution/hash")).json() == {"hash": after["hash"], "version": 2}


async def test_an_activation_is_an_event_and_audited(assembly: Assembly) -> None:
    proposal = await assembly.enact(content(2))
    query = (
        "SELECT action, actor, topic, object, detail->>'approved_by' AS voters, detail->>'hash' AS hash FROM {} "
        "WHERE tenant_id = $1 AND action LIKE 'constitution.%'"
    )
    rows: list[Any] = []
    for table in ("audit_entries", "audit_intake"):
        rows += await assembly.platform.owner_sql(query.format(table), assembly.tenant)
    told = {row["action"]: row for row in rows}
    assert told.keys() == {"constitution.proposed", "constitution.vote.approve", "constitution.updated"}
    updated = told["constitution.updated"]
    assert (updated["topic"], updated["actor"], updated["object"]) == ("constitution.updated", "cyd", "constitution:2")
    assert (updated["voters"], updated["hash"]) == ('["ben", "cyd"]', proposal["hash"])


async def test_it_is_in_force_in_every_process(assembly: Assembly) -> None:
    body = {"session_id": "s", "tenant": assembly.tenant, "user": "ada", "prompt": "Sum up.", "role": "summarization"}
    async with api(assembly.platform.settings) as url:
        elsewhere = await assembly.platform.client(assembly.tenant, "ada", url=url)
        asked = await elsewhere.post("/v1/evaluate", json=body)
        assert asked.json()["reasons"]["constitution_hash"] == DEFAULT_HASH
        proposal = await assembly.enact(content(2, threshold=0.99))
        began = time.monotonic()

        async def refused() -> bool:
            answer = (await elsewhere.post("/v1/evaluate", json=body)).json()
            return bool(answer["reasons"]["constitution_hash"] == proposal["hash"]) and not answer["allowed"]

        await until(refused, within=timedelta(seconds=5))
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"weights": {"safety": -0.1}}, {"content.weights.safety"}),
        ({"weights": {"luck": 1.0}}, {"content.weights.luck"}),
        ({"version": "two"}, {"content.version"}),
        ({"version": 2.5, "threshold": 7, "mood": "dark"}, {"content.version", "content.threshold", "content.mood"}),
    ],
)
async def test_faulty_content(assembly: Assembly, changes: Json, paths: set[str]) -> None:
    body = {"content": content(**changes), "signature": "AAAA", "signer_key_id": "signer"}
    assert await refusal(assembly, body) == (422, "constitution_invalid", paths)


async def test_weights_that_are_not_numbers_or_empty(assembly: Assembly) -> None:
    sound = assembly.signer.signed(content(2))
    empty = {**sound, "content": {**content(2), "weights": {}}}
    status, code, paths = await refusal(assembly, empty)
    assert (status, code) == (422, "constitution_invalid")
    assert "content.weights.safety" in paths
    raw = '{"content": {"version": 2, "threshold": NaN}, "signature": "x", "signer_key_id": "y"}'
    answer = await assembly.ada.post(PROPOSALS, content=raw, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "constitution_invalid")
    assert "content.threshold" in {fault["path"] for fault in answer.json()["errors"]}
    huge = raw.replace("NaN", "1e999")
    answer = await assembly.ada.post(PROPOSALS, content=huge, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422), answer.text


async def test_unsigned_tampered_and_signed_by_others(assembly: Assembly, others: Assembly) -> None:
    signed = assembly.signer.signed(content(2))
    bare = {"content": content(2)}
    assert await refusal(assembly, bare) == (422, "constitution_invalid", {"signature", "signer_key_id"})
    everything = {"content": content(2, threshold=5)}
    assert (await refusal(assembly, everything))[2] == {"signature", "signer_key_id", "content.threshold"}
    tampered = {**signed, "content": content(2, threshold=0.1)}
    assert await refusal(assembly, tampered) == (400, "signature_invalid", set())
    renumbered = {**signed, "content": content(3)}
    assert await refusal(assembly, renumbered) == (400, "signature_invalid", set())
    unknown = {**signed, "signer_key_id": "nobody"}
    assert await refusal(assembly, unknown) == (422, "signing_key_unknown", {"signer_key_id"})
    foreign = Signer("foreign")
    await others.ada.post("/v1/signing-keys", json=foreign.registration)
    assert await refusal(assembly, foreign.signed(content(2))) == (422, "signing_key_unknown", {"signer_key_id"})
    theirs = {**others.signer.signed(content(2))}
    assert await refusal(assembly, theirs) == (400, "signature_invalid", set())


async def test_versions_only_rise(assembly: Assembly) -> None:
    assert await refusal(assembly, assembly.signer.signed(content(1))) == (
        409,
        "constitution_version_not_rising",
        set(),
    )
    await assembly.enact(content(5))
    for version in (2, 5):
        answer = await assembly.ada.post(PROPOSALS, json=assembly.signer.signed(content(version)))
        assert (answer.status_code, answer.json()["code"]) == (409, "constitution_version_not_rising")
    assert (await assembly.in_force())["version"] == 5


async def test_an_envelope_as_signature(assembly: Assembly) -> None:
    document = content(2)
    wrapped = envelope(CONSTITUTION_PAYLOAD_TYPE, canonical_bytes(document), assembly.signer.private_key)
    body = {"content": document, "signature": wrapped, "signer_key_id": "signer"}
    answer = await assembly.ada.post(PROPOSALS, json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"{PROPOSALS}/{answer.json()['id']}"
    proposal = await assembly.examined(answer.json()["id"])
    for person in (assembly.ben, assembly.cyd):
        await assembly.vote(person, proposal)
    found = await assembly.in_force()
    assert (found["version"], found["verified"], found["signature"]) == (2, True, wrapped)


async def test_who_may_vote(assembly: Assembly, others: Assembly) -> None:
    proposal = await assembly.propose(content(2))
    place = f"{PROPOSALS}/{proposal['id']}"
    for decision in ("approve", "reject"):
        own = await assembly.vote(assembly.ada, proposal, decision)
        assert (own.status_code, own.json()["code"]) == (403, "self_approval_forbidden")
    reader = await assembly.platform.client(assembly.tenant, "eve", "policy:read", "constitution:propose")
    answer = await reader.post(f"{place}/vote", json={"decision": "approve"})
    assert (answer.status_code, answer.json()["code"]) == (403, "capability_missing")
    foreign = await others.ben.post(f"{place}/vote", json={"decision": "approve"})
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")
    assert (await others.ben.get(place)).status_code == 404
    first = await assembly.ben.post(f"{place}/approve", json={"reason": "sound"})
    assert first.status_code == 200, first.text
    again = await assembly.ben.post(f"{place}/approve")
    assert (again.status_code, len(again.json()["votes"])) == (200, 1), "the same vote counts once"
    other = await assembly.vote(assembly.ben, proposal, "reject")
    assert (other.status_code, other.json()["code"]) == (409, "already_voted")
    assert (await assembly.in_force())["version"] == 1
    odd = await assembly.vote(assembly.cyd, proposal, "abstain")
    assert (odd.status_code, odd.json()["code"]) == (422, "validation_failed")
    done = await assembly.cyd.post(f"{place}/approve", json={})
    assert done.json()["status"] == "activated"
    assert [(vote["voter"], vote["reason"]) for vote in done.json()["votes"]] == [("ben", "sound"), ("cyd", None)]
    late = await (await assembly.platform.client(assembly.tenant, "dan")).post(f"{place}/reject")
    assert (late.status_code, late.json()["code"]) == (409, "proposal_decided")


async def test_one_rejection_rejects(assembly: Assembly) -> None:
    proposal = await assembly.propose(content(2))
    await assembly.vote(assembly.ben, proposal)
    answer = await assembly.cyd.post(f"{PROPOSALS}/{proposal['id']}/reject", json={"reason": "too lax"})
    assert (answer.status_code, answer.json()["status"]) == (200, "rejected")
    assert (await assembly.in_force())["version"] == 1
    listed = (await assembly.ben.get(PROPOSALS, params={"status": "rejected"})).json()["items"]
    assert [item["id"] for item in listed] == [proposal["id"]]
    assert (await assembly.ben.get(PROPOSALS, params={"status": "pending"})).json()["items"] == []


async def test_the_proposer_withdraws(assembly: Assembly) -> None:
    proposal = await assembly.propose(content(2))
    foreign = await assembly.ben.delete(f"{PROPOSALS}/{proposal['id']}")
    assert (foreign.status_code, foreign.json()["code"]) == (403, "not_the_submitter")
    assert (await assembly.ada.delete(f"{PROPOSALS}/{proposal['id']}")).status_code == 204
    late = await assembly.vote(assembly.ben, proposal)
    assert (late.status_code, late.json()["code"]) == (409, "proposal_decided")
    again = await assembly.ada.delete(f"{PROPOSALS}/{proposal['id']}")
    assert (again.status_code, again.json()["code"]) == (409, "proposal_decided")
    state = await assembly.platform.temporal.get_workflow_handle(proposal["workflow_id"]).result()
    assert state["status"] == "withdrawn"


async def test_the_tenants_quorum(assembly: Assembly) -> None:
    await assembly.platform.owner_sql(
        """UPDATE tenants SET settings = settings || '{"constitution_quorum": 3}' WHERE id = $1""", assembly.tenant
    )
    proposal = await assembly.propose(content(2))
    assert proposal["quorum"] == 3
    dan = await assembly.platform.client(assembly.tenant, "dan")
    statuses = [
        (await assembly.vote(person, proposal)).json()["status"] for person in (assembly.ben, assembly.cyd, dan)
    ]
    assert statuses == ["pending", "pending", "activated"]


async def test_votes_at_the_same_moment(assembly: Assembly) -> None:
    people = [await assembly.platform.client(assembly.tenant, f"p{number}") for number in range(6)]
    proposal = await assembly.propose(content(2))
    answers = await asyncio.gather(*(assembly.vote(person, proposal) for person in people))
    assert sorted({answer.status_code for answer in answers}) == [200, 409]
    assert sum(answer.status_code == 200 for answer in answers) == 2
    found = (await assembly.ada.get(f"{PROPOSALS}/{proposal['id']}")).json()
    assert (found["status"], len(found["votes"])) == ("activated", 2)
    rows = await assembly.platform.owner_sql("SELECT 1 FROM constitutions WHERE tenant_id = $1", assembly.tenant)
    assert len(rows) == 1


async def test_two_proposals_of_one_version(assembly: Assembly) -> None:
    one, other = await assembly.propose(content(2)), await assembly.propose(content(2, threshold=0.9))
    higher = await assembly.propose(content(3))
    for proposal in (one, other):
        await assembly.vote(assembly.ben, proposal)
    answers = await asyncio.gather(assembly.vote(assembly.cyd, one), assembly.vote(assembly.cyd, other))
    found = [(await assembly.ada.get(f"{PROPOSALS}/{proposal['id']}")).json() for proposal in (one, other)]
    assert sorted(each["status"] for each in found) == ["activated", "superseded"], [answer.text for answer in answers]
    assert (await assembly.ada.get(f"{PROPOSALS}/{higher['id']}")).json()["status"] == "pending"
    assert (await assembly.in_force())["version"] == 2


async def test_a_key_revoked_before_the_last_vote(assembly: Assembly) -> None:
    proposal = await assembly.propose(content(2))
    await assembly.vote(assembly.ben, proposal)
    assert (await assembly.ada.delete("/v1/signing-keys/signer")).status_code == 204
    answer = await assembly.vote(assembly.cyd, proposal)
    assert (answer.status_code, answer.json()["status"]) == (200, "failed")
    assert answer.json()["findings"][-1]["code"] == "signing_key_unknown"
    assert (await assembly.in_force())["version"] == 1


async def test_what_nothing_could_pass_cannot_be_approved(assembly: Assembly) -> None:
    proposal = await assembly.propose(content(2, weights={"confidence": 0.0, "safety": 0.0}))
    assert "nothing_passes" in {finding["code"] for finding in proposal["findings"]}
    answer = await assembly.vote(assembly.ben, proposal)
    assert (answer.status_code, answer.json()["code"]) == (409, "blocking_findings")
    rejected = await assembly.vote(assembly.ben, proposal, "reject")
    assert rejected.json()["status"] == "rejected"


async def test_back_to_an_old_one_under_a_new_number(assembly: Assembly) -> None:
    await assembly.enact(content(2, threshold=0.75))
    await assembly.enact(content(3, threshold=0.95))
    asked = await assembly.ada.post("/v1/constitution/rollback", json={"to_version": 2})
    assert (asked.status_code, asked.json()["code"]) == (422, "constitution_invalid")
    expected = content(4, threshold=0.75)
    assert canonical_bytes(expected).decode() in asked.json()["detail"]
    signed = assembly.signer.signed(expected)
    del signed["content"]
    answer = await assembly.ada.post("/v1/constitution/rollback", json={"to_version": 2, **signed})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["version"], answer.json()["rollback_of"]) == (4, 2)
    proposal = await assembly.examined(answer.json()["id"])
    for person in (assembly.ben, assembly.cyd):
        await assembly.vote(person, proposal)
    found = await assembly.in_force()
    assert (found["version"], found["content"]) == (4, expected)
    wrong = await assembly.ada.post("/v1/constitution/rollback", json={"to_version": 99})
    assert (wrong.status_code, wrong.json()["code"]) == (404, "not_found")
    listed = (await assembly.ada.get(f"/v1/constitution/{assembly.tenant}/versions")).json()["items"]
    assert [(item["version"], item["inherited"]) for item in listed] == [(4, False), (3, False), (2, False), (1, True)]


async def test_who_sees_what_is_in_force(assembly: Assembly, others: Assembly) -> None:
    await assembly.enact(content(2))
    for path in (assembly.tenant, f"{assembly.tenant}/hash", f"{assembly.tenant}/versions"):
        assert (await assembly.ada.get(f"/v1/constitution/{path}")).status_code == 200
        foreign = await others.ada.get(f"/v1/constitution/{path}")
        assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")
        anybody = await others.platform.client(others.tenant, "root", "policy:read", "tenant:any")
        assert (await anybody.get(f"/v1/constitution/{path}")).status_code == 200
    assert (await anybody.get("/v1/constitution/nobody-at-all")).status_code == 404
    assert (await anybody.get(f"/v1/constitution/{assembly.tenant}")).json()["version"] == 2
    assert (await others.ada.get("/v1/constitution")).json()["version"] == 1


async def test_validation_without_a_proposal(assembly: Assembly) -> None:
    place = "/v1/constitution/validate"
    sound = (await assembly.ada.post(place, json={"content": content(2)})).json()
    assert (sound["valid"], sound["errors"]) == (True, [])
    assert sound["canonical"] == canonical_bytes(content(2)).decode()
    signed = assembly.signer.signed(content(2))
    assert (await assembly.ada.post(place, json=signed)).json()["valid"]
    tampered = (await assembly.ada.post(place, json={**signed, "content": content(2, threshold=0.1)})).json()
    assert (tampered["valid"], [fault["code"] for fault in tampered["errors"]]) == (False, ["signature_invalid"])
    faulty = (await assembly.ada.post(place, json={"content": {"version": 2, "weights": {"luck": 1}}})).json()
    assert (faulty["valid"], faulty["hash"]) == (False, None)
    assert {"content.threshold", "content.weights.luck", "content.weights.safety"} <= {
        fault["path"] for fault in faulty["errors"]
    }
    assert (await assembly.ada.get(PROPOSALS)).json()["items"] == []


async def test_the_same_request_again(assembly: Assembly) -> None:
    body, headers = assembly.signer.signed(content(2)), {"Idempotency-Key": uuid4().hex}
    first = await assembly.ada.post(PROPOSALS, json=body, headers=headers)
    again = await assembly.ada.post(PROPOSALS, json=body, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.json()["id"] == again.json()["id"]
    assert len((await assembly.ada.get(PROPOSALS)).json()["items"]) == 1


async def test_while_somebody_else_trains(assembly: Assembly) -> None:
    await assembly.platform.owner_sql(
        "INSERT INTO training_sessions (id, tenant_id, reason, started_by) VALUES ($1, $2, 'fitting', 'ben')",
        uuid4(),
        assembly.tenant,
    )

    async def locked() -> bool:
        answer = await assembly.ada.post(PROPOSALS, json=assembly.signer.signed(content(2)))
        return answer.status_code == 409 and bool(answer.json()["code"] == "training_locked")

    await until(locked)


async def test_without_temporal(assembly: Assembly) -> None:
    proposal = await assembly.propose(content(2))
    settings = assembly.platform.settings.model_copy(update={"temporal_address": f"{HOST}:{free_port()}"})
    async with api(settings) as url:
        ada, ben = [await assembly.platform.client(assembly.tenant, user, url=url) for user in ("ada", "ben")]
        answer = await ben.post(f"{PROPOSALS}/{proposal['id']}/approve")
        assert (answer.status_code, answer.json()["code"]) == (503, "decision_pending")
        assert int(answer.headers["Retry-After"]) >= 1
        own = await ada.post(f"{PROPOSALS}/{proposal['id']}/approve")
        assert (own.status_code, own.json()["code"]) == (403, "self_approval_forbidden")
        taken = await ada.post(PROPOSALS, json=assembly.signer.signed(content(3)))
        assert taken.status_code == 202
        early = await ben.post(f"{PROPOSALS}/{taken.json()['id']}/approve")
        assert (early.status_code, early.json()["code"]) == (409, "proposal_not_ready")
    again = await assembly.ben.post(f"{PROPOSALS}/{proposal['id']}/approve")
    assert (again.status_code, len(again.json()["votes"])) == (200, 1)

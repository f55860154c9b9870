"""Handing capsules in: what is refused, in which order, and what the submitter may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from somagent.domain.canonical import sha256_hex
from somagent.tests.capsules.conftest import People
from somagent.tests.capsules.definitions import capsule, submission

Change = Callable[[dict[str, Any]], None]


def _cycle(definition: dict[str, Any]) -> None:
    definition["workflow"]["steps"][0]["needs"] = ["write"]


def _unknown_reference(definition: dict[str, Any]) -> None:
    definition["workflow"]["steps"][1]["params"]["content"] = "{{ steps.nobody.output.text }}"


def _unknown_field(definition: dict[str, Any]) -> None:
    definition["surprise"] = 1


def _undeclared_tool(definition: dict[str, Any]) -> None:
    definition["tools"] = [{"adapter": "text", "actions": ["template"]}]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (_cycle, "workflow.steps"),
        (_unknown_reference, "workflow.steps[1].params.content"),
        (_unknown_field, "surprise"),
        (_undeclared_tool, "workflow.steps[1].action"),
    ],
)
async def test_a_faulty_definition_is_refused_with_the_place(people: People, change: Change, path: str) -> None:
    definition = capsule()
    change(definition)
    answer = await people.author.post("/v1/submissions", json=submission(definition))
    assert (answer.status_code, answer.json()["code"]) == (422, "capsule_invalid")
    assert any(fault["path"].startswith(path) for fault in answer.json()["errors"]), answer.json()["errors"]


async def test_all_faults_are_told_at_once(people: People) -> None:
    definition = capsule(surprise=1)
    definition["workflow"]["steps"][1]["params"]["content"] = "{{ steps.nobody.output.text }}"
    body = submission(definition, version="1.0", capsule_id="another", attestation_hash="0" * 64)
    answer = await people.author.post("/v1/submissions", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "capsule_invalid")
    paths = {fault["path"] for fault in answer.json()["errors"]}
    assert {"capsule_id", "version", "surprise", "workflow.steps[1].params.content"} <= paths


async def test_a_wrong_hash_of_a_sound_definition_is_a_mismatch(people: People) -> None:
    for wrong in ("0" * 64, "no hash at all", sha256_hex(capsule("another"))):
        answer = await people.author.post("/v1/submissions", json=submission(capsule(), attestation_hash=wrong))
        assert (answer.status_code, answer.json()["code"]) == (400, "attestation_mismatch")
    listed = (await people.author.get("/v1/submissions")).json()
    assert listed == {"items": [], "next_cursor": None}


async def test_the_hash_is_over_the_canonical_form(people: People) -> None:
    definition = capsule()
    shuffled = dict(reversed(definition.items()))
    answer = await people.author.post(
        "/v1/submissions", json=submission(shuffled, attestation_hash=sha256_hex(definition).upper())
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["attestation_hash"] == sha256_hex(definition)


async def test_large_floats_survive_storage(people: People) -> None:
    definition = capsule()
    definition["workflow"]["steps"][0]["params"]["values"] = {"far": 1e22, "near": 1e-7, "whole": 2.0}
    found = await people.submit(definition)
    assert found["definition"] == definition
    assert not [finding for finding in found["findings"] if finding["severity"] == "blocking"]


@pytest.mark.parametrize("field", ["capsule_id", "version", "owner", "summary", "definition", "attestation_hash"])
async def test_every_field_is_needed(people: People, field: str) -> None:
    body = submission(capsule())
    del body[field]
    answer = await people.author.post("/v1/submissions", json=body)
    assert answer.status_code == 422
    assert [fault["path"] for fault in answer.json()["errors"]] == [field]


async def test_unknown_fields_and_broken_json_are_refused(people: People) -> None:
    answer = await people.author.post("/v1/submissions", json=submission(capsule(), surprise=True))
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    answer = await people.author.post(
        "/v1/submissions", content=b'{"capsule_id":', headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")
    body = submission(capsule(description="x" * (1 << 20)))
    answer = await people.author.post("/v1/submissions", json=body)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_a_version_is_submitted_once(people: People, others: People) -> None:
    definition = capsule()
    await people.submit(definition)
    answer = await people.author.post("/v1/submissions", json=submission(definition))
    assert (answer.status_code, answer.json()["code"]) == (409, "submission_exists")
    elsewhere = await others.author.post("/v1/submissions", json=submission(definition))
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (409, "submission_exists")
    private = await others.author.post("/v1/submissions", json=submission(definition, tenant_scope=others.tenant))
    assert private.status_code == 202
    shipped = await people.author.post("/v1/submissions", json=submission(capsule("shipped_note")))
    assert (shipped.status_code, shipped.json()["code"]) == (409, "submission_exists")


async def test_the_first_answer_comes_again_for_the_same_key(people: People) -> None:
    body = submission(capsule())
    headers = {"Idempotency-Key": uuid4().hex}
    first = await people.author.post("/v1/submissions", json=body, headers=headers)
    again = await people.author.post("/v1/submissions", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert first.headers["Location"] == f"/v1/submissions/{first.json()['id']}"
    assert first.json()["workflow_id"] == f"review-{first.json()['id']}"


async def test_a_replaced_definition_is_examined_anew(people: People) -> None:
    definition = capsule()
    found = await people.submit(definition)
    changed = {**definition, "summary": "Writes another greeting into a file of the job's folder"}
    body = {"definition": changed, "attestation_hash": sha256_hex(changed)}
    answer = await people.author.put(f"/v1/submissions/{found['id']}", json=body)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["revision"], answer.json()["findings_ready"], answer.json()["votes"]) == (2, False, [])
    assert answer.json()["deadline"] > found["deadline"]
    examined = await people.examined(found["id"])
    assert examined["revision"] == 2
    assert examined["definition"]["summary"] == changed["summary"]
    decided = await people.reviewer.post(f"/v1/submissions/{found['id']}/review", json={"decision": "approve"})
    assert decided.json()["status"] == "approved"


async def test_a_replacement_keeps_the_capsule(people: People) -> None:
    definition = capsule()
    found = await people.submit(definition)
    other = capsule(definition["id"], "1.0.1")
    answer = await people.author.put(
        f"/v1/submissions/{found['id']}", json={"definition": other, "attestation_hash": sha256_hex(other)}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "capsule_invalid")
    whole = await people.author.put(f"/v1/submissions/{found['id']}", json=submission(definition, owner="new team"))
    assert (whole.status_code, whole.json()["owner"]) == (200, "new team")


async def test_only_the_submitter_replaces_and_withdraws(people: People) -> None:
    definition = capsule()
    found = await people.submit(definition)
    body = {"definition": definition, "attestation_hash": sha256_hex(definition)}
    for refused in (
        await people.reviewer.put(f"/v1/submissions/{found['id']}", json=body),
        await people.reviewer.delete(f"/v1/submissions/{found['id']}"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (403, "not_the_submitter")


async def test_a_withdrawn_version_can_be_submitted_again(people: People) -> None:
    definition = capsule()
    found = await people.submit(definition)
    assert (await people.author.delete(f"/v1/submissions/{found['id']}")).status_code == 204
    assert (await people.author.get(f"/v1/submissions/{found['id']}")).json()["status"] == "withdrawn"
    answer = await people.author.delete(f"/v1/submissions/{found['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "submission_decided")
    vote = await people.reviewer.post(f"/v1/submissions/{found['id']}/review", json={"decision": "approve"})
    assert (vote.status_code, vote.json()["code"]) == (409, "submission_decided")
    assert (await people.submit(definition))["status"] == "pending"


async def test_submissions_are_listed_by_status_newest_first(people: People) -> None:
    first, second, third = [await people.submit(capsule()) for _ in range(3)]
    await people.reviewer.post(f"/v1/submissions/{second['id']}/review", json={"decision": "reject"})
    pending = (await people.author.get("/v1/submissions", params={"status": "pending"})).json()
    assert [item["id"] for item in pending["items"]] == [third["id"], first["id"]]
    page = (await people.author.get("/v1/submissions", params={"limit": 2})).json()
    rest = (await people.author.get("/v1/submissions", params={"limit": 2, "cursor": page["next_cursor"]})).json()
    assert [item["id"] for item in [*page["items"], *rest["items"]]] == [third["id"], second["id"], first["id"]]
    assert rest["next_cursor"] is None
    unknown = await people.author.get("/v1/submissions", params={"status": "lost"})
    assert unknown.status_code == 422


async def test_another_tenants_submission_is_not_there(people: People, others: People) -> None:
    found = await people.submit(capsule())
    body = {"definition": found["definition"], "attestation_hash": found["attestation_hash"]}
    for answer in (
        await others.author.get(f"/v1/submissions/{found['id']}"),
        await others.author.put(f"/v1/submissions/{found['id']}", json=body),
        await others.author.delete(f"/v1/submissions/{found['id']}"),
        await others.reviewer.post(f"/v1/submissions/{found['id']}/review", json={"decision": "approve"}),
        await people.author.get(f"/v1/submissions/{uuid4()}"),
        await people.author.get("/v1/submissions/nonsense"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

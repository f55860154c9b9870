"""Rehearsals of what a tenant has really decided."""

from __future__ import annotations

from uuid import UUID

from somagent.tests.constitution.conftest import Assembly
from somagent.tests.constitution.documents import Json, content


async def decide(assembly: Assembly, **metadata: object) -> Json:
    """A verdict of the policy engine, on record."""
    body = {"session_id": "s", "tenant": assembly.tenant, "user": "ada", "prompt": "Sum up.", "role": "summarization"}
    answer = await assembly.ada.post("/v1/evaluate", json={**body, "metadata": metadata})
    assert answer.status_code == 200, answer.text
    verdict: Json = answer.json()
    return verdict


async def rehearse(assembly: Assembly, proposal: Json, **body: object) -> Json:
    """What the proposal would have decided."""
    answer = await assembly.ada.post(f"/v1/constitution/proposals/{proposal['id']}/rehearse", json=body or None)
    assert answer.status_code == 200, answer.text
    rehearsed: Json = answer.json()
    return rehearsed


async def test_decisions_that_would_flip(assembly: Assembly) -> None:
    plain, risky = await decide(assembly), await decide(assembly, risk=0.6, confidence=0.61)
    refused = await decide(assembly, risk=1.0, confidence=0.0)
    human = await decide(assembly, requires_human=True, budget_required=3, budget_remaining=1)
    assert [one["allowed"] for one in (plain, risky, refused, human)] == [True, True, False, False]
    proposal = await assembly.propose(content(2, threshold=0.9))
    assert "4 recorded decisions 1 that were allowed" in proposal["findings"][-1]["detail"]
    found = await rehearse(assembly, proposal)
    assert (found["decisions"], found["reproduced"], found["unreproduced"]) == (4, 4, [])
    assert (found["newly_refused"], found["newly_allowed"]) == (1, 0)
    flip = found["flips"][0]
    assert (flip["decision_id"], flip["was"], flip["would_be"]) == (risky["decision_id"], "allowed", "refused")
    assert (flip["score_then"], flip["score_now"]) == (risky["score"], risky["score"])
    assert (flip["threshold_then"], flip["threshold_now"]) == (0.7, 0.9)
    lax = await rehearse(assembly, await assembly.propose(content(3, threshold=0.1, weights={"human_required": 0.0})))
    assert {one["decision_id"] for one in lax["flips"]} == {refused["decision_id"], human["decision_id"]}
    assert {one["would_be"] for one in lax["flips"]} == {"allowed"}
    newest = await rehearse(assembly, proposal, limit=2)
    assert newest["decisions"] == 2


async def test_every_constitution_reproduces_its_own(assembly: Assembly) -> None:
    for version, threshold in ((2, 0.31), (3, 0.77)):
        await decide(assembly, risk=0.123456789, confidence=0.987654321)
        await decide(assembly, budget_required=3, budget_remaining=1, requires_human=True)
        await assembly.enact(content(version, threshold=threshold, weights={"safety": 0.1 * version, "budget": 1 / 3}))
    last = await decide(assembly, risk=0.7)
    found = await rehearse(assembly, await assembly.propose(content(9)))
    assert (found["decisions"], found["reproduced"]) == (5, 5)
    await assembly.platform.owner_sql(
        "UPDATE policy_decisions SET score = score + 0.001 WHERE id = $1", UUID(last["decision_id"])
    )
    found = await rehearse(assembly, await assembly.propose(content(10)))
    assert (found["reproduced"], found["unreproduced"]) == (4, [last["decision_id"]])


async def test_hard_rules_stay_refusals(assembly: Assembly) -> None:
    rule = {"name": "never", "pattern": "sum up", "weight": 0.0, "hard": True}
    answer = await assembly.ada.post(f"/v1/policies/{assembly.tenant}/rules", json=rule)
    assert answer.status_code == 201, answer.text
    refused = await decide(assembly)
    assert (refused["allowed"], refused["reasons"]["policy"]) == (False, ["never"])
    found = await rehearse(assembly, await assembly.propose(content(2, threshold=0.0)))
    assert (found["decisions"], found["reproduced"], found["flips"]) == (1, 1, [])


async def test_only_ones_own_decisions(assembly: Assembly, others: Assembly) -> None:
    await decide(others)
    proposal = await assembly.propose(content(2))
    assert (await rehearse(assembly, proposal))["decisions"] == 0
    foreign = await others.ada.post(f"/v1/constitution/proposals/{proposal['id']}/rehearse")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")

"""From a proposal to what is in force, and everything that keeps one out."""

from __future__ import annotations

from somagent.domain.policy.constitution import DEFAULT_HASH, Constitution
from somagent.tests.constitution.conftest import Assembly
from somagent.tests.constitution.documents import content


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
    assert after["content"]["threshold"] == 0.75
    assert assembly.platform.settings is not None

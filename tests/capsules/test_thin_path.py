"""From a definition to an installed capsule, over HTTP and through both workflows."""

from __future__ import annotations

from somagent.tests.capsules.conftest import People
from somagent.tests.capsules.definitions import capsule


async def test_a_capsule_is_submitted_reviewed_and_installed(people: People) -> None:
    definition = capsule()
    approved = await people.approve(definition)
    assert approved["votes"][0]["reviewer"] == "ben"
    installed = await people.install(definition["id"])
    assert installed["status"] == "installed"
    assert installed["attestation_hash"] == approved["attestation_hash"]

"""An approval holds for exactly what people saw: arguments, capsule and constitution. Nothing else runs on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from temporalio.client import Client

from somagent.domain.errors import Code, SomaError
from somagent.domain.policy.constitution import parse_constitution
from somagent.services.jobs.control import pause, resume, retry
from somagent.tests.capsules.platform import Addresses, temporal_client, until
from somagent.tests.constitution.documents import Json, Signer, content
from somagent.tests.jobs.workbench import capsule, step, step_of
from somagent.tests.workflows.world import World, world

WORD = {"name": "word", "type": "string", "default": "hello"}
WRITE = step("write", "files.write", {"path": "a.txt", "content": "{{ inputs.word }}"}, requires_approval=True)
GUARDED = capsule("bound_guarded", [step("first", "text.join", {"parts": ["x"]}), WRITE], inputs=[WORD])
PROGRAM = capsule("bound_program", [step("run", "shell.execute", {"command": ["true"]}, requires_approval=True)])
PAIR = capsule("bound_pair", [WRITE], inputs=[WORD], policies={"approvals": {"quorum": 2}})
DUO = capsule("bound_duo", [WRITE], inputs=[WORD], policies={"approvals": {"quorum": 2}})
CHILD = capsule("bound_child", [step("ask", "human.approve", {"question": "And?"})])
PARENT = capsule("bound_parent", [step("child", "capsule.run", {"capsule_id": CHILD["id"], "inputs": {}})])
ASKS = capsule("bound_asks", [step("ask", "human.approve", {"question": "Still there?"})])
HEAVY = capsule("bound_heavy", [step("run", "shell.execute", {"command": ["true"]})])
PLAIN = capsule("bound_plain", [step("write", "files.write", {"path": "a.txt", "content": "x"})])


class Bench:
    """A tenant's jobs, with a key to sign its constitutions."""

    def __init__(self, running: World, folder: Path) -> None:
        self.world = running
        self.folder = folder
        self.signer = Signer()

    async def enact(self, document: Json) -> None:
        """Put a constitution in force, as its activation does: a signed row."""
        signature = self.signer.signed(document)["signature"]
        await self.world.sql(
            "INSERT INTO signing_keys (tenant_id, key_id, public_key, label, created_by, created_at) "
            "VALUES ($1, $2, $3, '', 'ada', now()) ON CONFLICT DO NOTHING",
            self.world.tenant,
            self.signer.key_id,
            self.signer.registration["public_key"],
        )
        await self.world.sql(
            "INSERT INTO constitutions (tenant_id, version, content, hash, signature, signer_key_id) "
            "VALUES ($1, $2, $3::text::jsonb, $4, $5, $6)",
            self.world.tenant,
            document["version"],
            json.dumps(document),
            parse_constitution(document).content_hash,
            signature,
            self.signer.key_id,
        )

    async def approved_and_paused(self, capsule_id: str, *voters: str) -> str:
        """A job whose effect was approved, and which was paused before it."""
        job_id = await self.world.start(capsule_id)
        approval = await self.world.asked(job_id)
        async with self.world.connection() as connection:
            await pause(connection, UUID(job_id))
        for voter in voters or ("ben",):
            await self.world.vote(job_id, approval, user=voter)
        await self.world.until(job_id, "paused")
        return job_id

    async def go_on(self, job_id: str) -> Json:
        """The paused job's end."""
        async with self.world.connection() as connection:
            recorded = await resume(connection, UUID(job_id))
        await self.world.tell(recorded)
        return await self.world.until(job_id, "completed", "failed")

    def written(self, job_id: str) -> list[Path]:
        """What the effect has left."""
        return [path for path in self.folder.rglob("a.txt") if job_id in str(path)]

    async def refused(self, job: Json, step_id: str = "write") -> None:
        """The effect was left undone, with the reason."""
        assert (job["status"], job["error"]["code"]) == ("failed", "approval_digest_mismatch"), job
        assert step_of(job, step_id)["status"] == "failed"
        assert self.written(job["id"]) == []


@pytest.fixture(scope="module")
async def bench(
    addresses: Addresses, temporal_address: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Bench]:
    """One world for the module; constitutions rise through it."""
    folder = tmp_path_factory.mktemp("bound")
    client: Client = await temporal_client(temporal_address)
    capsules = [GUARDED, PROGRAM, PAIR, DUO, CHILD, PARENT, ASKS, HEAVY, PLAIN]
    async with world(folder, addresses, client, capsules) as running:
        yield Bench(running, folder)


@pytest.fixture
def rising(bench: Bench) -> Any:
    """The next version's content."""

    async def rise(**changes: Any) -> Json:
        query = "SELECT coalesce(max(version), 1) + 1 AS next FROM constitutions WHERE tenant_id = $1"
        return content((await bench.world.sql(query, bench.world.tenant))[0]["next"], **changes)

    return rise


async def test_what_was_approved_is_done(bench: Bench) -> None:
    job_id = await bench.approved_and_paused(GUARDED["id"])
    assert bench.written(job_id) == []
    job = await bench.go_on(job_id)
    assert job["status"] == "completed", job
    assert len(bench.written(job_id)) == 1
    query = "SELECT action, actor, detail->>'status' AS status FROM audit_intake WHERE detail->>'job_id' = $1"
    sealed = query.replace("audit_intake", "audit_entries")
    audited = [*await bench.world.sql(query, job_id), *await bench.world.sql(sealed, job_id)]
    assert [tuple(row) for row in audited] == [("approval.vote.approve", "ben", "approved")]


async def test_a_constitution_that_changed_after_the_approval(bench: Bench, rising: Any) -> None:
    job_id = await bench.approved_and_paused(GUARDED["id"])
    await bench.enact(await rising(threshold=0.71))
    await bench.refused(await bench.go_on(job_id))
    # People are asked again about what is in force now, and then it is done.
    async with bench.world.connection() as connection:
        await bench.world.tell(await retry(connection, UUID(job_id)))
    again = await bench.world.asked(job_id)
    await bench.world.vote(job_id, again)
    assert (await bench.world.until(job_id, "completed", "failed"))["status"] == "completed"
    assert len(bench.written(job_id)) == 1


@pytest.mark.parametrize("capsule_id", [PROGRAM["id"], ASKS["id"]])
async def test_a_constitution_that_changed_while_people_were_asked(bench: Bench, rising: Any, capsule_id: str) -> None:
    job_id = await bench.world.start(capsule_id)
    outdated = await bench.world.asked(job_id)
    await bench.enact(await rising())
    with pytest.raises(SomaError) as caught:
        await bench.world.vote(job_id, outdated)
    assert caught.value.code is Code.APPROVAL_DIGEST_MISMATCH
    renewed = await bench.world.asked(job_id)
    assert renewed["id"] == outdated["id"]
    assert renewed["digest"] != outdated["digest"]
    assert renewed["what"] == {**outdated["what"], "constitution_hash": renewed["what"]["constitution_hash"]}
    await bench.world.vote(job_id, renewed)
    assert (await bench.world.until(job_id, "completed", "failed"))["status"] == "completed"


async def test_votes_for_what_is_no_longer_asked_do_not_count(bench: Bench, rising: Any) -> None:
    job_id = await bench.world.start(DUO["id"])
    await bench.world.vote(job_id, await bench.world.asked(job_id), user="ben")
    await bench.enact(await rising())
    with pytest.raises(SomaError):
        await bench.world.vote(job_id, await bench.world.asked(job_id), user="cyd")
    renewed = await bench.world.asked(job_id)
    await bench.world.vote(job_id, renewed, user="cyd")
    assert (await bench.world.asked(job_id))["status"] == "pending"
    await bench.world.vote(job_id, renewed, user="ben")
    assert (await bench.world.until(job_id, "completed", "failed"))["status"] == "completed"


async def test_arguments_that_changed_after_the_approval(bench: Bench) -> None:
    job_id = await bench.approved_and_paused(GUARDED["id"])
    await bench.world.sql("""UPDATE jobs SET inputs = '{"word": "goodbye"}' WHERE id = $1""", UUID(job_id))
    await bench.refused(await bench.go_on(job_id))


async def test_a_capsule_that_changed_after_the_approval(bench: Bench) -> None:
    job_id = await bench.approved_and_paused(GUARDED["id"])
    change = "UPDATE installations SET definition = jsonb_set(definition, '{summary}', $2::text::jsonb) "
    await bench.world.sql(change + "WHERE capsule_id = $1", GUARDED["id"], '"Something else"')
    try:
        await bench.refused(await bench.go_on(job_id))
    finally:
        await bench.world.sql(change + "WHERE capsule_id = $1", GUARDED["id"], json.dumps(GUARDED["summary"]))


async def test_a_capsule_that_is_not_what_was_installed_runs_nowhere(bench: Bench) -> None:
    change = "UPDATE installations SET definition = definition #- '{workflow,steps,0,requires_approval}' "
    await bench.world.sql(change + "WHERE capsule_id = $1", PAIR["id"])
    with pytest.raises(SomaError) as caught:  # the first that reads it: nobody has it in memory
        await bench.world.take(PAIR["id"])
    assert caught.value.code is Code.ATTESTATION_MISMATCH
    mend = "UPDATE installations SET definition = jsonb_set(definition, '{workflow,steps,0,requires_approval}', 'true')"
    await bench.world.sql(mend + " WHERE capsule_id = $1", PAIR["id"])


async def test_votes_are_counted_again_before_the_effect(bench: Bench) -> None:
    job_id = await bench.approved_and_paused(PAIR["id"], "ben", "cyd")
    await bench.world.sql(
        "UPDATE approval_votes SET user_id = 'ada' WHERE user_id = 'cyd' AND approval_id IN "
        "(SELECT id FROM approvals WHERE job_id = $1)",
        UUID(job_id),
    )
    await bench.refused(await bench.go_on(job_id))


async def test_the_submitter_of_a_parent_decides_nothing_of_its_children(bench: Bench) -> None:
    job_id = await bench.world.start(PARENT["id"])
    rows = await until(lambda: bench.world.sql("SELECT id FROM jobs WHERE parent_job_id = $1", UUID(job_id)))
    child_id = str(rows[0]["id"])
    approval = await bench.world.asked(child_id)
    with pytest.raises(SomaError) as caught:
        await bench.world.vote(child_id, approval, user="ada")
    assert caught.value.code is Code.SELF_APPROVAL_FORBIDDEN
    await bench.world.vote(child_id, approval, user="ben")
    assert (await bench.world.until(job_id, "completed", "failed"))["status"] == "completed"


async def test_approvals_that_race_a_new_constitution(bench: Bench, rising: Any) -> None:
    """Whichever comes first: what runs was approved under the constitution that judged it, or does not run."""
    ended = []
    for number in range(6):
        job_id = await bench.world.start(GUARDED["id"])
        approval = await bench.world.asked(job_id)
        document = await rising(threshold=0.6 + number / 100)
        voted, _ = await asyncio.gather(
            bench.world.vote(job_id, approval), bench.enact(document), return_exceptions=True
        )
        if isinstance(voted, SomaError):
            assert voted.code is Code.APPROVAL_DIGEST_MISMATCH
            approval = await bench.world.asked(job_id)
            await bench.world.vote(job_id, approval)
        job = await bench.world.until(job_id, "completed", "failed")
        ended.append(job["status"])
        if job["status"] == "failed":
            await bench.refused(job)
            continue
        row = await bench.world.sql(
            "SELECT verdict->>'constitution_hash' AS hash FROM job_steps WHERE job_id = $1 AND step_id = 'write'",
            UUID(job_id),
        )
        assert row[0]["hash"] == approval["what"]["constitution_hash"]
    assert len(ended) == 6


async def test_jobs_wait_while_the_constitution_cannot_be_verified(bench: Bench, rising: Any) -> None:
    await bench.enact(await rising())
    forge = "UPDATE constitutions SET content = jsonb_set(content, '{threshold}', $2::text::jsonb) WHERE tenant_id = $1"
    await bench.world.sql(forge, bench.world.tenant, "0.001")
    await _settled(bench)
    plain, heavy, asks = [await bench.world.start(one["id"]) for one in (PLAIN, HEAVY, ASKS)]
    for job_id, step_id in ((plain, "write"), (heavy, "run"), (asks, "ask")):
        job = await bench.world.until(job_id, "waiting", "failed")
        shown = step_of(job, step_id)
        assert (job["status"], shown["status"]) == ("waiting", "waiting")
        assert shown["error"]["code"] == "constitution_unverifiable"
    assert bench.written(plain) == []
    await bench.enact(await rising())
    for job_id in (plain, heavy):
        assert (await bench.world.until(job_id, "completed", "failed"))["status"] == "completed"
    await bench.world.vote(asks, await bench.world.asked(asks))
    assert (await bench.world.until(asks, "completed", "failed"))["status"] == "completed"


async def _settled(bench: Bench) -> None:
    """Until the worker has noticed; without a look of ours."""

    async def noticed() -> bool:
        return bench.world.parts.gate.constitutions.standing(bench.world.tenant).constitution is None

    await until(noticed, within=timedelta(seconds=5))

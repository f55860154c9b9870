"""Records histories of both workflows from a real server, for the replay tests.

    .venv/bin/python -m somagent.tests.capsules.record_histories

Run it after a change that old runs need not survive, and only then: what replays today must replay tomorrow.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any, Final

import yaml
from temporalio.client import Client

from somagent.domain.canonical import sha256_hex
from somagent.tests.capsules.conftest import People, people_of
from somagent.tests.capsules.definitions import capsule, submission
from somagent.tests.capsules.platform import Platform, platform, postgres, temporal_server, until

HISTORIES: Final = Path(__file__).parents[1] / "workflows" / "histories"


def main() -> None:
    """Start everything in a folder of its own, take each way once, and write what happened."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        capsules = folder / "capsules"
        capsules.mkdir()
        (capsules / "shipped_note.yaml").write_text(yaml.safe_dump(capsule("shipped_note")))
        with postgres(folder / "pg") as addresses, temporal_server(folder) as address:
            asyncio.run(_record(folder, capsules, addresses, address))


async def _record(folder: Path, capsules: Path, addresses: Any, address: str) -> None:
    async with platform(folder, capsules, addresses, address) as running, running.run_workers():
        people = await people_of(running, "recorded")
        await _approved(running, people)
        await _rejected(running, people)
        await _replaced_and_withdrawn(running, people)
        await _expired(running, people)
        await _installed_and_failed(running, people)


async def _approved(running: Platform, people: People) -> None:
    await running.owner_sql("UPDATE tenants SET review_quorum = 2 WHERE id = $1", people.tenant)
    found = await people.submit(capsule("approved_note"))
    for voter in (people.reviewer, people.installer):
        await voter.post(f"/v1/submissions/{found['id']}/review", json={"decision": "approve"})
    await running.owner_sql("UPDATE tenants SET review_quorum = 1 WHERE id = $1", people.tenant)
    await _save(running, found["workflow_id"], "capsule_review_approved_by_two")


async def _rejected(running: Platform, people: People) -> None:
    found = await people.submit(capsule("rejected_note"))
    await people.reviewer.post(f"/v1/submissions/{found['id']}/review", json={"decision": "reject"})
    await _save(running, found["workflow_id"], "capsule_review_rejected")


async def _replaced_and_withdrawn(running: Platform, people: People) -> None:
    definition = capsule("withdrawn_note")
    found = await people.submit(definition)
    body = {"definition": definition, "attestation_hash": sha256_hex(definition)}
    await people.author.put(f"/v1/submissions/{found['id']}", json=body)
    await people.examined(found["id"])
    await people.author.delete(f"/v1/submissions/{found['id']}")
    await _save(running, found["workflow_id"], "capsule_review_replaced_and_withdrawn")


async def _expired(running: Platform, people: People) -> None:
    """With a deadline a few seconds away, set while the row is written."""
    await running.owner_sql(
        "CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW.deadline := now() + interval '4 seconds'; RETURN NEW; END $$"
    )
    await running.owner_sql("CREATE TRIGGER hurry BEFORE INSERT ON submissions FOR EACH ROW EXECUTE FUNCTION hurry()")
    answer = await people.author.post("/v1/submissions", json=submission(capsule("expired_note")))
    await running.owner_sql("DROP TRIGGER hurry ON submissions")
    await _save(running, answer.json()["workflow_id"], "capsule_review_expired")


async def _installed_and_failed(running: Platform, people: People) -> None:
    await people.approve(capsule("installed_note"))
    installed = await people.install("installed_note")
    await _save(running, installed["workflow_id"], "capsule_installation_installed")
    await running.owner_sql("UPDATE tenants SET daily_tokens = 10 WHERE id = $1", people.tenant)
    failed = await people.install("installed_note", environment="test")
    await _save(running, failed["workflow_id"], "capsule_installation_undone")


async def _save(running: Platform, workflow_id: str, name: str) -> None:
    await save_history(running.temporal, workflow_id, name)


async def save_history(client: Client, workflow_id: str, name: str, *, run_id: str | None = None) -> None:
    """Wait until the workflow has closed, and write its history."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)

    async def closed() -> bool:
        return (await handle.describe()).close_time is not None

    await until(closed)
    history = json.loads((await handle.fetch_history()).to_json())
    HISTORIES.mkdir(parents=True, exist_ok=True)
    (HISTORIES / f"{name}.json").write_text(json.dumps(_anonymous(history), indent=1) + "\n")


def _anonymous(value: Any) -> Any:
    """Without the names of the machine, process and folders that recorded it."""
    if isinstance(value, dict):
        hidden = {"identity": "recorder", "stackTrace": "", "binaryChecksum": ""}
        return {key: hidden.get(key) or _anonymous(item) for key, item in value.items() if hidden.get(key) != ""}
    return [_anonymous(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()

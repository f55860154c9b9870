"""Records histories of proposals from a real server, for the replay tests.

    .venv/bin/python -m somagent.tests.constitution.record_histories

Run it after a change that old runs need not survive, and only then: what replays today must replay tomorrow.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from somagent.tests.capsules.platform import Platform, platform, postgres, temporal_server, until
from somagent.tests.capsules.record_histories import HISTORIES, _anonymous
from somagent.tests.constitution.conftest import Assembly, assembly_of, workers
from somagent.tests.constitution.documents import Json, content


def main() -> None:
    """Start everything in a folder of its own, take each way once, and write what happened."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "capsules").mkdir()
        with postgres(folder / "pg") as addresses, temporal_server(folder) as address:
            asyncio.run(_record(folder, addresses, address))


async def _record(folder: Path, addresses: Any, address: str) -> None:
    async with (
        platform(folder, folder / "capsules", addresses, address) as running,
        workers(running.temporal, running.app_db),
    ):
        people = await assembly_of(running)
        await _save(running, await people.enact(content(2)), "constitution_activated_by_two")
        await _rejected(people)
        await _withdrawn(people)
        await _expired(people)


async def _rejected(people: Assembly) -> None:
    proposal = await people.propose(content(3))
    await people.vote(people.ben, proposal)
    await people.vote(people.cyd, proposal, "reject")
    await _save(people.platform, proposal, "constitution_rejected")


async def _withdrawn(people: Assembly) -> None:
    proposal = await people.propose(content(3))
    await people.ada.delete(f"/v1/constitution/proposals/{proposal['id']}")
    await _save(people.platform, proposal, "constitution_withdrawn")


async def _expired(people: Assembly) -> None:
    """With a deadline a few seconds away, set while the row is written."""
    running = people.platform
    await running.owner_sql(
        "CREATE FUNCTION hurry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW.deadline := now() + interval '4 seconds'; RETURN NEW; END $$"
    )
    await running.owner_sql(
        "CREATE TRIGGER hurry BEFORE INSERT ON constitution_proposals FOR EACH ROW EXECUTE FUNCTION hurry()"
    )
    proposal = await people.propose(content(3))
    await _save(running, proposal, "constitution_expired")


async def _save(running: Platform, proposal: Json, name: str) -> None:
    handle = running.temporal.get_workflow_handle(proposal["workflow_id"])

    async def closed() -> bool:
        return (await handle.describe()).close_time is not None

    await until(closed)
    history = json.loads((await handle.fetch_history()).to_json())
    (HISTORIES / f"{name}.json").write_text(json.dumps(_anonymous(history), indent=1) + "\n")


if __name__ == "__main__":
    main()

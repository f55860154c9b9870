"""Records histories of sessions from a real server, for the replay tests.

    .venv/bin/python -m somagent.tests.sessions.record_histories

Run it after a change that old runs need not survive, and only then: what replays today must replay tomorrow.
"""

from __future__ import annotations

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

from somagent.deploy.local.ports import free_port
from somagent.services.starter import WORKFLOW_QUEUE
from somagent.tests.capsules.platform import Addresses, postgres, temporal_server, until
from somagent.tests.capsules.record_histories import save_history
from somagent.tests.sessions.world import Person, World, world
from somagent.tests.slm.redis_server import RedisServer


def main() -> None:
    """Start everything in a folder of its own, take each way once, and write what happened."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        redis = RedisServer(free_port())
        redis.start()
        try:
            with postgres(folder / "pg") as addresses, temporal_server(folder) as address:
                asyncio.run(_record(folder, addresses, address, redis))
        finally:
            redis.remove()


async def _record(folder: Path, addresses: Addresses, address: str, redis: RedisServer) -> None:
    async with world(folder / "world", addresses, address, redis) as running:
        ann = await running.person("recorded")
        await _ended(running, ann)
        await _killed(running, ann)
        await _idle_and_continued(running, ann)


async def _ended(running: World, ann: Person) -> None:
    started = await ann.start("Good morning")
    await ann.say(started["session_id"], "And now?")
    await ann.http.delete(f"/v1/sessions/{started['session_id']}")
    await save_history(running.temporal, started["workflow_id"], "session_ended_by_its_user")


async def _killed(running: World, ann: Person) -> None:
    started = await ann.start("Good morning")
    await ann.answered(started["session_id"])
    await running.temporal.get_workflow_handle(started["workflow_id"]).cancel()
    await save_history(running.temporal, started["workflow_id"], "session_cancelled")


async def _idle_and_continued(running: World, ann: Person) -> None:
    """By a workflow of the same session with short patience, in the place of its own."""
    started = await ann.start("Good morning")
    await ann.answered(started["session_id"])
    handle = running.temporal.get_workflow_handle(started["workflow_id"])
    await handle.terminate()

    async def closed() -> bool:
        return (await handle.describe()).close_time is not None

    await until(closed, within=timedelta(minutes=1))
    state = {
        "session_id": started["session_id"], "tenant_id": ann.tenant, "settled": 1, "idle_seconds": 4, "turns_a_run": 1,
    }  # fmt: skip
    first = await running.temporal.start_workflow(
        "SessionWorkflow", state, id=started["workflow_id"], task_queue=WORKFLOW_QUEUE
    )
    await ann.say(started["session_id"], "And now?")
    await save_history(running.temporal, started["workflow_id"], "session_idle")
    await save_history(
        running.temporal, started["workflow_id"], "session_continued", run_id=first.first_execution_run_id
    )


if __name__ == "__main__":
    main()

"""What two at once may not do: settle a step twice, end a job twice, or leave a job that Temporal has lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from temporalio.client import Client, WorkflowFailureError

from somagent.adapters.postgres.database import Database
from somagent.services.jobs.store import Settled, begin, mark, settle
from somagent.services.reconciliation import Reconciliation
from somagent.tests.capsules.platform import Addresses, temporal_client, temporal_server
from somagent.tests.jobs.workbench import capsule, statuses, step, step_of
from somagent.tests.workflows.world import World, world

TWO = capsule("two", [step("one", "text.join", {"parts": ["x"]}), step("two", "text.join", {"parts": ["y"]})])
FAILS = capsule("fails", [step("read", "files.read", {"path": "missing"})])
ASKS = capsule("asks_operators", [step("ask", "human.approve", {"question": "Still there?"})])


@pytest.fixture(scope="module")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A development server."""
    with temporal_server(tmp_path_factory.mktemp("temporal")) as address:
        yield await temporal_client(address)


@pytest.fixture
async def idle(addresses: Addresses, temporal: Client, tmp_path: Path) -> AsyncIterator[World]:
    """Nobody works: the test does it by hand."""
    async with world(tmp_path, addresses, temporal, [TWO], works=False) as running:
        yield running


@pytest.fixture
async def busy(addresses: Addresses, temporal: Client, tmp_path: Path) -> AsyncIterator[World]:
    """Workers work."""
    async with world(tmp_path, addresses, temporal, [TWO, FAILS, ASKS]) as running:
        yield running


async def _held_up(owner_db: Database, count: int) -> None:
    """Wait until so many statements wait for a lock."""
    async with asyncio.timeout(60):
        while await owner_db.pool.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_two_attempts_that_settle_a_step_at_the_same_moment(idle: World) -> None:
    job_id = (await idle.take(TWO["id"])).order.workflow_id.removeprefix("job-")

    async def attempt(text: str) -> bool:
        async with idle.connection() as connection:
            return await settle(connection, job_id, 0, Settled("one", "text.join", "completed", 1, text)) is not None

    async with idle.connection() as connection:
        await begin(connection, job_id, idle.tenant, 0, "run", "one")
    async with idle.owner_db.pool.acquire() as blocker, blocker.transaction():
        await blocker.execute("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", UUID(job_id))
        attempts = [asyncio.create_task(attempt(text)) for text in ("first", "second")]
        await _held_up(idle.owner_db, 2)
    assert sorted(await asyncio.gather(*attempts)) == [False, True]
    job = await idle.job(job_id)
    assert job["progress"]["completed"] == 1
    assert await idle.events(job_id) == [(1, "job.started"), (2, "step.completed")]


async def test_a_late_beginning_does_not_open_a_settled_step(idle: World) -> None:
    job_id = (await idle.take(TWO["id"])).order.workflow_id.removeprefix("job-")

    async def end() -> object:
        async with idle.connection() as connection:
            return await settle(connection, job_id, 0, Settled("one", "text.join", "completed", 1, "done"))

    async def open_again() -> object:
        async with idle.connection() as connection:
            return await mark(connection, job_id, 0, "one", "text.join", "running", 1)

    async with idle.connection() as connection:
        await begin(connection, job_id, idle.tenant, 0, "run", "one")
    async with idle.owner_db.pool.acquire() as blocker, blocker.transaction():
        await blocker.execute("SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE", UUID(job_id))
        ending = asyncio.create_task(end())
        await _held_up(idle.owner_db, 1)
        opening = asyncio.create_task(open_again())
        await _held_up(idle.owner_db, 2)
    assert await ending is not None
    assert await opening is None
    assert step_of(await idle.job(job_id), "one")["output"] == "done"


async def test_another_epoch_writes_nothing(idle: World) -> None:
    job_id = (await idle.take(TWO["id"])).order.workflow_id.removeprefix("job-")
    async with idle.connection() as connection:
        assert await begin(connection, job_id, idle.tenant, 1, "run", "one") is None
        assert await settle(connection, job_id, 1, Settled("one", "text.join", "completed", 1, "x")) is None
        assert await mark(connection, job_id, 1, "one", "text.join", "running", 1) is None
    assert await idle.events(job_id) == []
    assert statuses(await idle.job(job_id)) == {"one": "pending", "two": "pending"}


async def test_a_cancellation_that_comes_while_the_job_ends(busy: World) -> None:
    async with busy.owner_db.pool.acquire() as blocker, blocker.transaction():
        await blocker.execute("LOCK TABLE approvals IN ACCESS EXCLUSIVE MODE")
        job_id = await busy.start(FAILS["id"])
        await _held_up(busy.owner_db, 1)
        await busy.handle(job_id).cancel()
        await asyncio.sleep(1)
    with pytest.raises(WorkflowFailureError):
        await busy.handle(job_id).result()
    job = await busy.job(job_id)
    assert (job["status"], job["error"]["code"]) == ("failed", "file_not_found")
    assert [kind for _, kind in await busy.events(job_id)] == ["job.started", "step.failed", "job.failed"]


async def test_a_workflow_that_an_operator_terminates(busy: World) -> None:
    job_id = await busy.start(ASKS["id"])
    await busy.asked(job_id)
    await busy.handle(job_id).terminate("by hand")
    await _look_again(busy, job_id)
    job = await busy.job(job_id)
    assert job["status"] == "killed"
    assert statuses(job) == {"ask": "cancelled"}
    assert job["approvals"][0]["status"] == "withdrawn"
    events = await busy.events(job_id)
    assert [number for number, _ in events] == list(range(1, len(events) + 1))
    assert events[-1][1] == "job.killed"


async def test_a_job_that_temporal_has_lost_is_ordered_again(busy: World) -> None:
    job_id = (await busy.take(TWO["id"])).order.workflow_id.removeprefix("job-")
    await busy.sql("DELETE FROM outbox WHERE key = $1", f"job-{job_id}")
    await _look_again(busy, job_id)
    orders = await busy.sql("SELECT id FROM outbox WHERE key = $1 AND kind = 'workflow.start'", f"job-{job_id}")
    assert len(orders) == 1


async def test_hundreds_that_wait_do_not_hide_a_lost_one(busy: World) -> None:
    waiting = await busy.start(ASKS["id"])
    await busy.asked(waiting)
    # Jobs that wait for people for weeks are many, and older than the lost one; each is a real row.
    await busy.sql(
        "INSERT INTO jobs (id, tenant_id, task, status, capsule_id, capsule_version, environment, installation_id, "
        "submitted_by, budget_tokens, steps_total, workflow_id, created_at) "
        "SELECT gen_random_uuid(), tenant_id, task, status, capsule_id, capsule_version, environment, "
        "installation_id, submitted_by, budget_tokens, steps_total, workflow_id, now() - interval '1 day' "
        "FROM jobs, generate_series(1, 250) WHERE id = $1",
        UUID(waiting),
    )
    lost = (await busy.take(TWO["id"])).order.workflow_id.removeprefix("job-")
    await busy.sql("DELETE FROM outbox WHERE key = $1", f"job-{lost}")
    await _look_again(busy, lost, looks=2)
    assert await busy.sql("SELECT id FROM outbox WHERE key = $1", f"job-{lost}")
    await busy.sql("DELETE FROM jobs WHERE workflow_id = $1 AND id <> $2", f"job-{waiting}", UUID(waiting))


async def _look_again(running: World, job_id: str, looks: int = 1) -> None:
    """Let the job's last sign of life be an hour ago, and the relay look."""
    ago = timedelta(hours=1)
    await running.sql("UPDATE jobs SET created_at = created_at - $2::interval WHERE id = $1", UUID(job_id), ago)
    statement = "UPDATE job_events SET created_at = created_at - $2::interval WHERE job_id = $1"
    await running.sql(statement, UUID(job_id), ago)
    relay = Reconciliation(running.parts.system_db, running.parts.client, running.parts.queue)
    for _ in range(looks):
        await relay.order_lost_jobs()

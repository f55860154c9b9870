"""Jobs over days and weeks, on Temporal's time-skipping server and a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from temporalio.testing import WorkflowEnvironment

from somagent.services.jobs.control import pause, resume
from somagent.tests.capsules.platform import Addresses
from somagent.tests.jobs.receiver import Receiver, free_port
from somagent.tests.jobs.workbench import capsule, statuses, step, step_of
from somagent.tests.workflows.world import World, skipping, world

DAY = 86_400
URL = {"name": "url", "type": "string", "required": True}

ASKS = capsule(
    "asks",
    [step("ask", "human.approve", {"question": "Even after weeks?"}), step("end", "text.join", {"parts": ["x"]})],
    outputs={"decision": "{{ steps.ask.output.decision }}"},
)
ASKS_FOR_THREE_DAYS = capsule(
    "asks_three_days",
    [step("ask", "human.approve", {"question": "In time?"})],
    policies={"max_duration_seconds": 3 * DAY},
)
PATIENT = capsule(
    "patient",
    [
        step("light", "text.join", {"parts": ["x"]}),
        step(
            "send",
            "http.request",
            {"method": "POST", "url": "{{ inputs.url }}"},
            retry={"max_attempts": 4, "backoff_seconds": 2 * 3600},
        ),
    ],
    inputs=[URL],
)
LIGHT = capsule("light", [step("one", "text.join", {"parts": ["x"]}), step("two", "text.join", {"parts": ["y"]})])
LIGHT_FOR_A_DAY = capsule(
    "light_one_day", [step("one", "text.join", {"parts": ["x"]})], policies={"max_duration_seconds": DAY}
)


@dataclass(frozen=True, slots=True)
class Clock:
    """A world whose time can be moved."""

    environment: WorkflowEnvironment
    world: World

    async def lasted(self, job_id: str) -> timedelta:
        """How long the job's workflow ran, by its own clock."""
        async with asyncio.timeout(90):
            while (described := await self.world.handle(job_id).describe()).close_time is None:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        return described.close_time - described.start_time

    async def sleep(self, **duration: float) -> None:
        """Let time pass."""
        await self.environment.sleep(timedelta(**duration))


@pytest.fixture
async def clock(addresses: Addresses, time_skipping_server: Path, tmp_path: Path) -> AsyncIterator[Clock]:
    """Time goes its usual way until a test moves it."""
    capsules = [ASKS, ASKS_FOR_THREE_DAYS, PATIENT, LIGHT, LIGHT_FOR_A_DAY]
    async with (
        skipping(time_skipping_server) as environment,
        world(tmp_path, addresses, environment.client, capsules) as running,
    ):
        yield Clock(environment, running)


async def test_an_approval_after_three_weeks(clock: Clock) -> None:
    job_id = await clock.world.start(ASKS["id"])
    approval = await clock.world.asked(job_id)
    await clock.sleep(weeks=3)
    assert (await clock.world.job(job_id))["status"] == "waiting"
    await clock.world.vote(job_id, approval)
    job = await clock.world.until(job_id, "completed", "failed")
    assert (job["status"], job["result"]["outputs"]) == ("completed", {"decision": "approve"})
    assert await clock.lasted(job_id) >= timedelta(weeks=3)


async def test_max_duration_after_days_of_waiting_for_people(clock: Clock) -> None:
    job_id = await clock.world.start(ASKS_FOR_THREE_DAYS["id"])
    await clock.world.asked(job_id)
    await clock.sleep(days=2, hours=23)
    assert (await clock.world.job(job_id))["status"] == "waiting"
    await clock.sleep(hours=2)
    job = await clock.world.until(job_id, "completed", "failed")
    assert (job["status"], job["error"]["code"]) == ("failed", "timed_out")
    assert statuses(job) == {"ask": "cancelled"}
    assert job["approvals"][0]["status"] == "withdrawn"
    assert timedelta(days=2, hours=23) < await clock.lasted(job_id) < timedelta(days=3, hours=1)


async def test_a_vote_in_time_beats_the_deadline(clock: Clock) -> None:
    job_id = await clock.world.start(ASKS_FOR_THREE_DAYS["id"])
    approval = await clock.world.asked(job_id)
    await clock.sleep(days=2)
    await clock.world.vote(job_id, approval, "reject")
    job = await clock.world.until(job_id, "completed", "failed")
    assert step_of(job, "ask")["output"] == {"decision": "reject", "by": ["ben"]}


async def test_hours_between_attempts(clock: Clock) -> None:
    port = free_port()
    job_id = await clock.world.start(PATIENT["id"], {"url": f"http://127.0.0.1:{port}/late"})

    async def attempts(count: int) -> None:
        async with asyncio.timeout(90):
            while step_of(await clock.world.job(job_id), "send")["attempt"] < count:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    await attempts(1)
    await clock.sleep(hours=1)
    assert step_of(await clock.world.job(job_id), "send")["attempt"] == 1
    await clock.sleep(hours=1, minutes=5)
    await attempts(2)
    with Receiver(port) as late:
        await clock.sleep(hours=2, minutes=5)
        job = await clock.world.until(job_id, "completed", "failed")
        assert late.count("/late") == 1
    assert job["status"] == "completed"
    assert step_of(job, "send")["attempt"] == 3
    assert await clock.lasted(job_id) >= timedelta(hours=4)


async def test_every_attempt_hours_apart_and_then_its_own_error(clock: Clock) -> None:
    job_id = await clock.world.start(PATIENT["id"], {"url": f"http://127.0.0.1:{free_port()}/never"})
    for _ in range(4):
        await clock.sleep(hours=2, minutes=5)
        await asyncio.sleep(1)
    job = await clock.world.until(job_id, "completed", "failed")
    assert (job["error"]["code"], step_of(job, "send")["attempt"]) == ("http_failed", 4)
    assert await clock.lasted(job_id) >= timedelta(hours=6)


async def test_a_pause_of_a_week(clock: Clock) -> None:
    recorded = await clock.world.take(LIGHT["id"])
    job_id = recorded.order.workflow_id.removeprefix("job-")
    async with clock.world.connection() as connection:
        await pause(connection, UUID(job_id))
    await clock.world.tell(recorded)
    async with asyncio.timeout(90):
        while (await clock.world.job(job_id))["started_at"] is None:  # noqa: ASYNC110 - the worker's work
            await asyncio.sleep(0.1)
    await clock.sleep(weeks=1)
    job = await clock.world.job(job_id)
    assert (job["status"], job["progress"]["completed"]) == ("paused", 0)
    async with clock.world.connection() as connection, connection.transaction():
        woken = await resume(connection, UUID(job_id))
    await clock.world.tell(woken)
    assert (await clock.world.until(job_id, "completed", "failed"))["status"] == "completed"
    assert [number for number, _ in await clock.world.events(job_id)] == list(range(1, 7))
    assert await clock.lasted(job_id) >= timedelta(weeks=1)


async def test_a_paused_jobs_time_runs_on(clock: Clock) -> None:
    recorded = await clock.world.take(LIGHT_FOR_A_DAY["id"])
    job_id = recorded.order.workflow_id.removeprefix("job-")
    async with clock.world.connection() as connection:
        await pause(connection, UUID(job_id))
    await clock.world.tell(recorded)
    async with asyncio.timeout(90):
        while (await clock.world.job(job_id))["started_at"] is None:  # noqa: ASYNC110 - the worker's work
            await asyncio.sleep(0.1)
    await clock.sleep(hours=25)
    job = await clock.world.until(job_id, "completed", "failed")
    assert (job["status"], job["error"]["code"]) == ("failed", "timed_out")
    assert timedelta(hours=23) < await clock.lasted(job_id) < timedelta(hours=25)

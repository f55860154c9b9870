"""Sessions over half an hour and over many runs, on Temporal's time-skipping server and a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from temporalio.client import WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from somagent.adapters.settings import Settings
from somagent.deploy.local.ports import free_port
from somagent.domain.actions.remote import SlmRole
from somagent.domain.messages.session import (
    END_SESSION,
    LONGEST_LINE,
    TAKE_TURN,
    TURN_ANSWERED,
    SessionEnd,
    SessionState,
    SessionStatus,
    TurnOrder,
    TurnPlace,
    TurnRef,
)
from somagent.domain.slm.messages import SlmMetrics, SlmResponse, SlmResult
from somagent.services.sessions.answering import TurnAnswers
from somagent.services.sessions.rows import NewSession, NewTurn, add_turn, create, lock
from somagent.services.starter import WORKFLOW_QUEUE
from somagent.services.tenants import ensure_tenant
from somagent.tests.capsules.platform import Addresses
from somagent.tests.slm.redis_server import RedisServer
from somagent.tests.workflows.world import skipping
from somagent.workers.parts import Parts, open_parts
from somagent.workers.runner import workflow_runner
from somagent.workers.sessions import session_activities, session_workflows
from somagent.workflows.session import SessionWorkflow


@dataclass
class Clock:
    """A session under a clock that can be moved; models answer when the test says so."""

    environment: WorkflowEnvironment
    parts: Parts
    tenant: str
    session_id: UUID
    begun: WorkflowHandle[SessionWorkflow, SessionState] | None = None

    @property
    def handle(self) -> WorkflowHandle[SessionWorkflow, SessionState]:
        """The session's workflow; time is skipped only for the one that started it."""
        assert self.begun is not None
        return self.begun

    async def begin(self, **changes: object) -> None:
        """Start the workflow."""
        state = SessionState.model_validate({"session_id": str(self.session_id), "tenant_id": self.tenant, **changes})
        self.begun = await self.environment.client.start_workflow(
            SessionWorkflow.run, state, id=f"session-{self.session_id}", task_queue=WORKFLOW_QUEUE
        )

    async def record(self, prompt: str = "Good morning") -> int:
        """A turn in Postgres, of which the workflow has not been told."""
        async with self.parts.app_db.connection(self.tenant) as connection, connection.transaction():
            await lock(connection, self.session_id)
            return await add_turn(connection, self.session_id, NewTurn("ann", prompt, {}))

    async def take(self, seq: int) -> TurnPlace:
        """Put a turn in line, as the API does; this server does not hand an update on to the run that follows."""
        for _ in range(100):
            try:
                place: TurnPlace = await self.handle.execute_update(
                    TAKE_TURN, TurnOrder(seq=seq), result_type=TurnPlace
                )
            except RPCError:
                await asyncio.sleep(0.05)
            else:
                return place
        raise AssertionError("no run took the turn")

    async def answer(self, seq: int) -> None:
        """The consumer's answer, once the turn was asked."""
        turn = TurnRef(session_id=str(self.session_id), tenant_id=self.tenant, seq=seq)
        async with asyncio.timeout(60):
            while (await self.turn(seq))[0] != "running":  # noqa: ASYNC110 - another process' work
                await asyncio.sleep(0.02)
        response = SlmResponse(
            request_id=turn.request_id,
            role=SlmRole.DIALOGUE_REASONING,
            result=SlmResult(completion=f"answer {seq}"),
            metrics=SlmMetrics(model="tiny-1", total_tokens=5),
        )
        answers: TurnAnswers = self.parts.turns
        await answers.settle(turn, response)
        await self.handle.signal(TURN_ANSWERED, TurnOrder(seq=seq))

    async def turn(self, seq: int) -> tuple[str, str | None]:
        """Status and answer of a turn."""
        async with self.parts.app_db.connection(self.tenant) as connection:
            row = await connection.fetchrow(
                "SELECT status, answer FROM session_turns WHERE session_id = $1 AND seq = $2", self.session_id, seq
            )
        assert row is not None
        return row["status"], row["answer"]

    async def standing(self) -> tuple[str, str | None]:
        """Status and end reason of the session."""
        async with self.parts.app_db.connection(self.tenant) as connection:
            row = await connection.fetchrow("SELECT status, end_reason FROM sessions WHERE id = $1", self.session_id)
        assert row is not None
        return row["status"], row["end_reason"]


@pytest.fixture
async def clock(
    addresses: Addresses, redis_server: RedisServer, time_skipping_server: Path, tmp_path: Path
) -> AsyncIterator[Clock]:
    """A session that nobody has begun."""
    async with skipping(time_skipping_server) as environment:
        settings = Settings.model_validate(
            {
                "SOMAGENT_DATA_DIR": tmp_path,
                "SOMAGENT_KEYS_DIR": addresses.keys,
                "SOMAGENT_POSTGRES_APP_URL": addresses.app,
                "SOMAGENT_POSTGRES_SYSTEM_URL": addresses.system,
                "TEMPORAL_ADDRESS": environment.client.service_client.config.target_host,
                "REDIS_URL": f"{redis_server.url.removesuffix('/0')}/{free_port() % 15 + 1}",
            }
        )
        async with open_parts(settings) as parts:
            tenant, session_id = f"t-{uuid4().hex[:10]}", uuid4()
            await ensure_tenant(parts.system_db, tenant, tmp_path)
            async with parts.app_db.connection(tenant) as connection, connection.transaction():
                await create(connection, NewSession(session_id, tenant, "ann", None, {}, {}, {}))
            client = environment.client
            workflows = Worker(
                client, task_queue=WORKFLOW_QUEUE, workflows=session_workflows(), workflow_runner=workflow_runner()
            )
            activities = Worker(client, task_queue="soma-activities", activities=session_activities(parts))
            async with workflows, activities:
                yield Clock(environment, parts, tenant, session_id)


async def test_after_half_an_hour_without_a_turn_it_ends(clock: Clock) -> None:
    began = await clock.environment.get_current_time()
    await clock.begin()
    state = await clock.handle.result()
    assert state.status is SessionStatus.ENDED
    assert await clock.standing() == ("ended", "idle")
    description = await clock.handle.describe()
    assert description.close_time is not None
    assert timedelta(minutes=29) < description.close_time - began < timedelta(minutes=31)


async def test_a_turn_begins_the_half_hour_anew(clock: Clock) -> None:
    await clock.begin()
    await clock.environment.sleep(timedelta(minutes=25))
    seq = await clock.record()
    await clock.take(seq)
    await clock.answer(seq)
    await clock.environment.sleep(timedelta(minutes=25))
    assert await clock.standing() == ("active", None)
    assert (await clock.handle.result()).settled == seq
    assert await clock.standing() == ("ended", "idle")


async def test_a_turn_of_which_nobody_told_is_found_before_the_end(clock: Clock) -> None:
    await clock.begin()
    await clock.environment.sleep(timedelta(minutes=1))
    seq = await clock.record()
    skipping_on = asyncio.create_task(clock.handle.result())
    await clock.answer(seq)
    assert (await skipping_on).settled == seq
    assert await clock.turn(seq) == ("completed", "answer 1")


async def test_a_turn_that_no_model_answers_is_given_up(clock: Clock) -> None:
    seq = await clock.record()
    await clock.begin(waiting=[seq])
    await clock.handle.result()
    assert (await clock.turn(seq))[0] == "failed"
    async with clock.parts.app_db.connection(clock.tenant) as connection:
        error = await connection.fetchval("SELECT error->>'code' FROM session_turns WHERE seq = 1 AND session_id = $1",
                                          clock.session_id)  # fmt: skip
        kept = await connection.fetchval(
            "SELECT reserved_tokens + spent_tokens FROM daily_budgets WHERE tenant_id = $1", clock.tenant
        )
    assert (error, kept) == ("slm_timed_out", 0)


async def test_a_turn_that_cannot_be_asked_is_given_up(clock: Clock, addresses: Addresses) -> None:
    seq = await clock.record()
    owner = await asyncpg.connect(addresses.owner)
    await owner.execute("ALTER TABLE memories RENAME TO away")
    try:
        await clock.begin(waiting=[seq])
        await clock.handle.result()
    finally:
        await owner.execute("ALTER TABLE away RENAME TO memories")
        await owner.close()
    assert await clock.turn(seq) == ("failed", None)
    assert await clock.standing() == ("ended", "idle")


async def test_it_goes_on_in_a_new_run_with_what_it_knows(clock: Clock) -> None:
    await clock.begin(turns_a_run=2)
    first_run = (await clock.handle.describe()).run_id
    for _ in range(5):
        seq = await clock.record()
        await clock.take(seq)
        await clock.answer(seq)
    await clock.handle.signal(END_SESSION, SessionEnd(status=SessionStatus.ENDED))
    state = await clock.handle.result()
    assert (state.settled, state.turns_in_run) == (5, 1)
    assert (await clock.handle.describe()).run_id != first_run


async def test_one_turn_is_answered_at_a_time(clock: Clock) -> None:
    await clock.begin()
    turns = [await clock.record() for _ in range(3)]
    with clock.environment.auto_time_skipping_disabled():
        assert [(await clock.take(seq)).ahead for seq in turns] == [0, 1, 2]
        assert (await clock.take(turns[1])).ahead == 1
        for seq in turns:
            assert [(await clock.turn(later))[0] for later in turns if later > seq] == ["queued"] * (3 - seq)
            await clock.answer(seq)


async def test_too_long_a_line_is_refused(clock: Clock) -> None:
    await clock.begin(waiting=[await clock.record() for _ in range(LONGEST_LINE)])
    with clock.environment.auto_time_skipping_disabled(), pytest.raises(WorkflowUpdateFailedError) as refused:
        await clock.take(LONGEST_LINE + 1)
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "session_busy"

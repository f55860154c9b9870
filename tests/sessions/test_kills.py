"""Workers that are killed in the middle of a turn: the answer is neither lost nor given twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError

from somagent.deploy.local.ports import free_port
from somagent.domain.messages.session import SessionStatus
from somagent.services.sessions.ending import end_sessions
from somagent.tests.capsules.platform import Addresses, postgres, temporal_server, until
from somagent.tests.sessions.world import Person, World, world
from somagent.tests.slm.model_server import ModelServer, chat
from somagent.tests.slm.redis_server import RedisServer

SLOW = {**chat("The comet returns in 2061."), "sleep": 3}


@pytest.fixture(scope="module")
def own_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Addresses, str, RedisServer]]:
    """Servers that no other test's workers work on."""
    redis = RedisServer(free_port())
    redis.start()
    folder = tmp_path_factory.mktemp("own")
    with postgres(folder / "postgres") as addresses, temporal_server(folder) as temporal_address:
        yield addresses, temporal_address, redis
    redis.remove()


@pytest.fixture
async def fragile(
    tmp_path: Path, own_servers: tuple[Addresses, str, RedisServer], model_server: ModelServer
) -> AsyncIterator[World]:
    """A world of the test's own, with a model server that takes its time."""
    model_server.answers(SLOW)
    async with world(
        tmp_path / "world", *own_servers,
        roles=None, SLM_BASE_URL=model_server.base_url, SLM_MODEL="tiny-1",
    ) as running:  # fmt: skip
        yield running


async def _asked(model_server: ModelServer) -> None:
    async def asked() -> bool:
        return bool(await asyncio.to_thread(model_server.requests))

    await until(asked, within=timedelta(minutes=3))


async def _settled_once(fragile: World, person: Person, session_id: str, turn: dict[str, Any]) -> None:
    assert (turn["status"], turn["answer"]) == ("completed", "The comet returns in 2061."), turn
    events = await fragile.sql("SELECT type FROM session_events WHERE session_id = $1 ORDER BY seq", session_id)
    assert [row["type"] for row in events].count("turn.completed") == 1
    budget = (await fragile.sql("SELECT * FROM daily_budgets WHERE tenant_id = $1", person.tenant))[0]
    assert (budget["spent_tokens"], budget["reserved_tokens"]) == (18, 0)


async def test_workers_killed_while_the_model_thinks(fragile: World, model_server: ModelServer) -> None:
    fragile.workers.start()
    ann = await fragile.person()
    session_id = (await ann.start("When does the comet return?"))["session_id"]
    await _asked(model_server)
    fragile.workers.kill()
    fragile.workers.start()
    turn = await ann.answered(session_id, within=240)
    await _settled_once(fragile, ann, session_id, turn)


async def test_a_turn_asked_while_nothing_works_is_answered_later(fragile: World, model_server: ModelServer) -> None:
    ann = await fragile.person()
    session_id = (await ann.start("When does the comet return?"))["session_id"]
    answer = await ann.http.post(
        f"/v1/sessions/{session_id}/turns", params={"wait_seconds": 0.2}, json={"prompt": "And which comet?"}
    )
    assert answer.status_code == 202, answer.text
    fragile.workers.start()
    first = await ann.answered(session_id, 1, within=240)
    second = await ann.answered(session_id, 2, within=240)
    assert (first["status"], second["status"]) == ("completed", "completed")
    assert first["finished_at"] < second["finished_at"]
    conversation = (await asyncio.to_thread(model_server.requests))[-1]["body"]["messages"]
    assert [message["role"] for message in conversation] == ["user", "assistant", "user"]


async def test_a_session_whose_workflow_is_lost_goes_on(fragile: World, model_server: ModelServer) -> None:
    ann = await fragile.person()
    lost = (await ann.start("When does the comet return?"))["session_id"]
    ended = (await ann.start("When does the comet return?"))["session_id"]
    handle = fragile.temporal.get_workflow_handle(f"session-{ended}")

    async def told() -> bool:
        return not await fragile.sql(
            "SELECT 1 FROM outbox WHERE tenant_id = $1 AND kind = 'workflow.start'", ann.tenant
        )

    await until(told)
    await handle.terminate()
    await fragile.temporal.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace="default", workflow_execution=WorkflowExecution(workflow_id=f"session-{lost}")
        )
    )

    async def gone() -> bool:
        try:
            await fragile.temporal.get_workflow_handle(f"session-{lost}").describe()
        except RPCError:
            return True
        return False

    await until(gone)
    await fragile.sql("UPDATE sessions SET last_turn_at = now() - interval '1 minute' WHERE tenant_id = $1", ann.tenant)
    fragile.workers.start()
    assert (await ann.answered(lost, within=240))["status"] == "completed"
    assert (await ann.answered(ended, within=240))["status"] == "cancelled"
    assert (await ann.session(ended))["end_reason"] == "its workflow was terminated in Temporal"


async def test_the_kill_switch_ends_a_session_in_the_middle_of_a_turn(
    fragile: World, model_server: ModelServer
) -> None:
    fragile.workers.start()
    ann = await fragile.person()
    started = await ann.start("When does the comet return?")
    await _asked(model_server)
    async with fragile.system_db.connection(ann.tenant) as connection, connection.transaction():
        ended = await end_sessions(
            connection, status=SessionStatus.KILLED, reason="a drill", actor="ops", tenant_id=ann.tenant
        )
    assert [str(one.session_id) for one in ended] == [started["session_id"]]
    handle = fragile.temporal.get_workflow_handle(started["workflow_id"])
    await handle.cancel()
    found = await ann.session(started["session_id"])
    assert (found["status"], found["end_reason"]) == ("killed", "a drill")
    assert [turn["status"] for turn in found["turns"]] == ["cancelled"]

    async def closed() -> bool:
        return (await handle.describe()).close_time is not None

    await until(closed, within=timedelta(minutes=2))
    await asyncio.sleep(4)  # the model's answer comes, and finds nobody
    found = await ann.session(started["session_id"])
    assert (found["status"], found["turns"][0]["answer"]) == ("killed", None)
    budget = (await fragile.sql("SELECT * FROM daily_budgets WHERE tenant_id = $1", ann.tenant))[0]
    assert budget["reserved_tokens"] == 0

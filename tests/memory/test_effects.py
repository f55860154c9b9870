"""The in-house actions as steps of a job run them: on the step's own connection, inside its transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import BaseModel, JsonValue, SecretStr

from somagent.adapters.keys import KeyRing
from somagent.adapters.postgres.database import Database, TenantConnection
from somagent.adapters.settings import Settings
from somagent.adapters.slm.builtin import BuiltinProvider
from somagent.adapters.tools.port import ToolContext
from somagent.domain.actions import ACTIONS, Weight, action
from somagent.domain.errors import Code, SomaError
from somagent.services.gate.gate import open_gate
from somagent.services.in_house import recorded_effects
from somagent.services.jobs.effects import Act, RecordedEffect
from somagent.services.jobs.store import JobState
from somagent.tests.api.servers import PostgresServer

SETTINGS = Settings(webhooks=SecretStr('{"ops": "https://hooks.example.org/T0/secret"}'))
JOB = str(uuid4())


class Step:
    """A job's step, run as often as the test likes."""

    def __init__(
        self, connection: TenantConnection, tenant: str, folder: Path, effects: Mapping[str, RecordedEffect]
    ) -> None:
        self.connection, self.tenant, self.folder, self.effects = connection, tenant, folder, effects

    async def run(self, name: str, step_id: str = "step", **params: JsonValue) -> BaseModel:
        spec = action(name)
        job = JobState(
            job_id=JOB, tenant_id=self.tenant, epoch=0, installation_id=None, capsule_id="c", environment="prod",
            inputs={}, attachments=(), submitted_by="ann", priority=3, depth=0, session_id=None, budget_tokens=1000,
            committed_tokens=0, pause_requested=False, cancel_requested=False, deadline=None,
            created_at=datetime.now(UTC),
        )  # fmt: skip
        context = ToolContext(self.tenant, JOB, step_id, f"{JOB}:{step_id}", self.folder)
        act = Act(spec, spec.params.model_validate(params), job, step_id, context)
        async with self.connection.transaction():
            output = await self.effects[spec.adapter].execute(self.connection, act)
        assert type(output) is spec.output
        return output


@pytest.fixture
async def effects(memory_postgres: PostgresServer) -> AsyncIterator[Mapping[str, RecordedEffect]]:
    system_db = await Database.open(memory_postgres.system_url, pool_size=2)
    try:
        async with open_gate(SETTINGS, system_db, KeyRing(memory_postgres.keys)) as gate:
            yield recorded_effects(SETTINGS, BuiltinProvider(), gate)
    finally:
        await system_db.close()


@pytest.fixture
def step(connection: TenantConnection, tenant: str, tmp_path: Path, effects: Mapping[str, RecordedEffect]) -> Step:
    return Step(connection, tenant, tmp_path, effects)


def test_every_light_action_of_these_adapters_is_there(effects: Mapping[str, RecordedEffect]) -> None:
    assert set(effects) == {"memory", "notifications", "policy", "analytics"}
    light = {spec.name for spec in ACTIONS.values() if spec.adapter in effects and spec.weight is Weight.LIGHT}
    assert light == {
        "memory.remember", "memory.remember_all", "memory.recall", "memory.retrieve", "notifications.send",
        "policy.evaluate", "analytics.analyse_budget",
    }  # fmt: skip


async def test_what_a_step_remembers_is_found_by_the_next(step: Step) -> None:
    kept = (await step.run("memory.remember", "keep", text="The beacon burns whale oil.", tags=["sea"])).model_dump()
    await step.run(
        "memory.remember_all", "all", documents=[{"path": "b.md", "content": "The keeper sleeps by day.", "bytes": 25}]
    )
    (found, *_) = (await step.run("memory.recall", query="whale oil")).model_dump()["items"]
    assert found["memory_id"] == kept["memory_id"]
    assert found["provenance"]["source"] == "job"
    assert (found["provenance"]["job_id"], found["provenance"]["step_id"]) == (JOB, "keep")
    answer = (await step.run("memory.retrieve", query="When does the keeper sleep?")).model_dump()
    assert answer["answer"] == "The keeper sleeps by day. [1]"
    assert [source["key"] for source in answer["sources"]] == ["b.md#1"]


async def test_filters_that_do_not_fit_fail_the_step(step: Step) -> None:
    with pytest.raises(SomaError) as refused:
        await step.run("memory.recall", query="x", filters={"colour": "red"})
    assert refused.value.code is Code.PARAMS_INVALID


async def test_a_rolled_back_step_leaves_nothing(step: Step) -> None:
    undone = step.connection.transaction()
    await undone.start()
    await step.run("memory.remember", text="gone")
    await step.run("notifications.send", message="gone", channel="ops")
    await undone.rollback()
    for table in ("memories", "notifications", "outbox"):
        assert await step.connection.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608 - our own names


async def test_a_repeated_step_notifies_once(step: Step) -> None:
    first = (await step.run("notifications.send", "tell", message="done", severity="warning")).model_dump()
    again = (await step.run("notifications.send", "tell", message="done", severity="warning")).model_dump()
    webhook = (await step.run("notifications.send", "page", message="done", channel="ops")).model_dump()
    assert first == again
    assert (first["status"], webhook["status"]) == ("delivered", "pending")
    rows = await step.connection.fetch("SELECT step_id, channel, severity FROM notifications ORDER BY created_at")
    assert [tuple(row) for row in rows] == [("tell", "web", "warning"), ("page", "ops", "info")]
    told = await step.connection.fetch("SELECT payload->>'topic' AS topic, key FROM outbox ORDER BY id")
    assert [tuple(row) for row in told] == [
        ("notifications.events", first["notification_id"]), ("notifications.events", webhook["notification_id"]),
    ]  # fmt: skip


async def test_an_unknown_channel_fails_and_names_those_there_are(step: Step) -> None:
    with pytest.raises(SomaError) as refused:
        await step.run("notifications.send", message="x", channel="pager")
    assert refused.value.code is Code.CHANNEL_UNKNOWN
    assert "web, ops" in refused.value.detail
    assert "secret" not in refused.value.detail


async def test_policy_judges_by_what_is_known(step: Step) -> None:
    calm = (await step.run("policy.evaluate", prompt="hello")).model_dump()
    again = (await step.run("policy.evaluate", prompt="hello")).model_dump()
    assert calm == again
    assert (calm["allowed"], calm["severity"], calm["cached"], calm["threshold"]) == (True, "low", False, 0.7)
    assert calm["score"] == pytest.approx(0.3 + 0.2 + 0.3 * 0.9 + 0.2)
    assert [feature["name"] for feature in calm["reasons"]["features"]] == [
        "prompt_cleanliness", "confidence", "safety", "budget",
    ]  # fmt: skip
    risky = (
        await step.run(
            "policy.evaluate",
            "other",
            prompt="x",
            metadata={"risk": 0.9, "confidence": 0.4, "budget_required": 100, "budget_remaining": 50,
                      "requires_human": True, "note": "the caller's own"},
        )
    ).model_dump()  # fmt: skip
    assert risky["score"] == pytest.approx(0.3 + 0.08 + 0.03 + 0.1 - 0.15)
    assert (risky["allowed"], risky["severity"]) == (False, "high")
    assert risky["decision_id"] != calm["decision_id"]
    manifest = (
        await step.run("policy.evaluate", "third", prompt="x", metadata={"action": "shell.execute"})
    ).model_dump()
    assert manifest["score"] == pytest.approx(0.3 + 0.2 + 0.3 * 0.7 + 0.2)


async def test_policy_refuses_numbers_out_of_range_all_at_once(step: Step) -> None:
    bad: dict[str, JsonValue] = {"risk": 1.5, "confidence": -0.1, "budget_required": float("inf")}
    with pytest.raises(SomaError) as refused:
        await step.run("policy.evaluate", prompt="x", metadata=bad)
    assert {fault.path for fault in refused.value.errors} == {f"metadata.{name}" for name in bad}


async def test_policy_is_asked_for_ones_own_tenant(step: Step) -> None:
    assert await step.run("policy.evaluate", prompt="x", tenant=step.tenant)
    with pytest.raises(SomaError) as refused:
        await step.run("policy.evaluate", prompt="x", tenant="another")
    assert refused.value.code is Code.TENANT_MISMATCH


@pytest.mark.parametrize(
    ("spent", "budget", "variance", "within"),
    [(1150, 1000, 15.0, True), (1200, 1000, 20.0, False), (10, 1000, 0.0, True), (0, 0, 0.0, True)],
)
async def test_budget_variance(step: Step, spent: int, budget: int, variance: float, within: bool) -> None:
    run = uuid4()
    await step.connection.execute(
        "INSERT INTO jobs (id, tenant_id, task, environment, submitted_by, budget_tokens, spent_tokens, steps_total, "
        "workflow_id) VALUES ($1, $2, 'capsule.run', 'prod', 'ann', $3, $4, 1, 'job')",
        run, step.tenant, budget, spent,
    )  # fmt: skip
    output = (await step.run("analytics.analyse_budget", run=str(run))).model_dump()
    assert output == {"variance_percent": pytest.approx(variance), "within": within}


@pytest.mark.parametrize("run", ["6b112b19-5efd-4e2e-bf33-059ca1665ed9", "not an id"])
async def test_an_unknown_run_is_not_found(step: Step, run: str) -> None:
    with pytest.raises(SomaError) as missing:
        await step.run("analytics.analyse_budget", run=run)
    assert missing.value.code is Code.NOT_FOUND

"""Long jobs: their histories are cut, and nothing is forgotten or done twice."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from somagent.deploy.local.parts import require_temporal
from somagent.deploy.local.ports import HOST, free_port
from somagent.tests.capsules.platform import Addresses, temporal_client
from somagent.tests.jobs.receiver import Receiver
from somagent.tests.jobs.workbench import capsule, statuses, step, step_of
from somagent.tests.workflows.world import world

COUNT = 16
SEND = {"method": "POST", "url": "{{ inputs.url }}"}
SENDS = [step("s0", "http.request", SEND, needs=[]), *(step(f"s{n}", "http.request", SEND) for n in range(1, COUNT))]
LONG = capsule(
    "long",
    [
        *SENDS,
        step("ask", "human.approve", {"question": "All the while?"}, needs=[]),
        step("guarded", "http.request", SEND, needs=[], requires_approval=True),
        step("end", "text.join", {"parts": ["x"]}, needs=[f"s{COUNT - 1}", "ask", "guarded"]),
    ],
    inputs=[{"name": "url", "type": "string", "required": True}],
    policies={"max_duration_seconds": 600},
)


@pytest.fixture
def short_memory(tmp_path: Path) -> Iterator[str]:
    """A Temporal server that suggests a new history after forty events."""
    port = free_port()
    command = [
        str(require_temporal().path), "server", "start-dev", "--headless", "--ip", HOST, "--port", str(port),
        "--log-level", "error", "--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=40",
    ]  # fmt: skip
    with (tmp_path / "temporal.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"{HOST}:{port}"
        finally:
            process.terminate()
            process.wait(20)


async def test_a_new_history_keeps_what_is_settled_and_what_is_asked(
    addresses: Addresses, short_memory: str, tmp_path: Path
) -> None:
    client = await temporal_client(short_memory)
    async with world(tmp_path, addresses, client, [LONG]) as running:
        with Receiver() as receiver:
            job_id = await running.start(LONG["id"], {"url": receiver.url("/count")})
            first = (await running.handle(job_id).describe()).run_id
            last = f"s{COUNT - 1}"
            while statuses(job := await running.job(job_id))[last] != "completed":
                assert job["status"] in ("queued", "running", "waiting"), job
            asked = {one["step_id"]: one for one in job["approvals"]}
            assert set(asked) == {"ask", "guarded"}
            assert {one["status"] for one in asked.values()} == {"pending"}
            assert receiver.count("/count") == COUNT
            await running.vote(job_id, asked["guarded"])
            await running.vote(job_id, asked["ask"])
            job = await running.until(job_id, "completed", "failed")
            assert job["status"] == "completed", job
            assert receiver.count("/count") == COUNT + 1
            assert set(receiver.keys().values()) == {1}
    described = await running.handle(job_id).describe()
    assert described.run_id != first
    assert described.history_length < 120
    assert step_of(job, "ask")["output"]["decision"] == "approve"
    assert job["run_id"] != first

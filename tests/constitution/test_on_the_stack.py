"""A constitution in the whole stack: other processes' workers judge by it, and the topics hear of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import orjson
import pytest
from redis import Redis

from somagent.client import ApiError, SomaGent
from somagent.tests.capsules.platform import temporal_client
from somagent.tests.constitution.documents import Json, Signer, content
from somagent.tests.harness import Stack
from somagent.tests.jobs.workbench import Workbench, capsule, step, step_of, until

TENANT = "lawgivers"
RISKY = capsule(
    "asks_and_runs",
    [step("ask", "human.approve", {"question": "Now?"}), step("run", "shell.execute", {"command": ["true"]})],
)


def proposed(ada: SomaGent, signer: Signer, document: Json) -> Json:
    """A proposal, once its findings are in."""
    made = ada.post("/v1/constitution/proposals", signer.signed(document))
    place = f"/v1/constitution/proposals/{made['id']}"
    until(lambda: ada.get(place)["findings_ready"], "the findings")
    found: Json = ada.get(place)
    return found


def approved(person: SomaGent, proposal: Json) -> Json:
    """That person's approval."""
    voted: Json = person.post(f"/v1/constitution/proposals/{proposal['id']}/approve", {})
    return voted


def told(stack: Stack) -> list[Json]:
    """The tenant's events of ``constitution.updated``."""
    with Redis.from_url(stack.redis_url) as redis:
        entries: Any = redis.xrange("constitution.updated")
        events = [orjson.loads(fields[b"v"]) for _, fields in entries]
    return [cast("Json", event) for event in events if event["tenant_id"] == TENANT]


def test_workers_judge_by_what_is_in_force(stack: Stack, token: Callable[..., str]) -> None:
    tokens = {user: token(TENANT, user) for user in ("ada", "ben", "cyd")}
    with (
        SomaGent(stack.base_url, tokens["ada"], timeout=60) as ada,
        SomaGent(stack.base_url, tokens["ben"], timeout=60) as ben,
        SomaGent(stack.base_url, tokens["cyd"], timeout=60) as cyd,
    ):
        bench = Workbench(TENANT, stack.base_url, tokens, ada, ben, cyd)
        jobs = [bench.start(RISKY) for _ in range(3)]
        questions = [bench.asked(job_id)[1] for job_id in jobs]
        bench.vote(ben, jobs[0], questions[0])
        assert bench.ended(jobs[0])["status"] == "completed"
        signer = Signer()
        ada.post("/v1/signing-keys", signer.registration)
        strict = proposed(ada, signer, content(2, threshold=0.999))
        rival = proposed(ada, signer, content(2, threshold=0.5))
        assert approved(ben, strict)["status"] == "pending"
        bench.vote(ben, jobs[1], questions[1])
        assert bench.ended(jobs[1])["status"] == "completed", "half approved judges nothing"
        assert approved(cyd, strict)["status"] == "activated"
        began = time.monotonic()
        until(lambda: _refused(bench), "the refusal of new jobs")
        assert time.monotonic() - began < 5
        time.sleep(max(0.0, began + 5 - time.monotonic()))
        with pytest.raises(ApiError) as outdated:
            bench.vote(ben, jobs[2], questions[2])
        assert outdated.value.code == "approval_digest_mismatch"
        bench.vote(ben, jobs[2], bench.asked(jobs[2])[1])
        job = bench.ended(jobs[2])
        assert job["error"]["code"] == step_of(job, "run")["error"]["code"] == "policy_refused"
        rehearsed = ada.post(f"/v1/constitution/proposals/{strict['id']}/rehearse", {})
        assert rehearsed["decisions"] == rehearsed["reproduced"] > 0
        assert any(flip["action"] == "shell.execute" for flip in rehearsed["flips"])
        assert ada.get(f"/v1/constitution/proposals/{rival['id']}")["status"] == "superseded"
        until(lambda: told(stack), "the event")
        payload = told(stack)[0]["payload"]
        assert (payload["type"], payload["detail"]["version"], payload["detail"]["approved_by"]) == (
            "constitution.updated",
            2,
            ["ben", "cyd"],
        )
        asyncio.run(_closed(stack, rival))


def _refused(bench: Workbench) -> bool:
    try:
        bench.start(RISKY)
    except ApiError as error:
        return error.code == "policy_refused"
    return False


async def _closed(stack: Stack, proposal: Json) -> None:
    """The superseded proposal's workflow has been told, and ended."""
    client = await temporal_client(stack.temporal_address)
    state = await asyncio.wait_for(client.get_workflow_handle(proposal["workflow_id"]).result(), 60)
    assert state["status"] == "superseded"

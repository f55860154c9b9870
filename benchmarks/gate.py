"""What the gate costs: verdicts over REST, and its part of taking a job."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from uuid import uuid4

import orjson

from somagent.benchmarks.load import burst
from somagent.benchmarks.world import TENANT, World

_CLIENTS = 8
_CAPSULE = "bench_light_3"


@dataclass(frozen=True, slots=True)
class JobCost:
    """Seconds of one ``POST /v1/jobs``, and how much of it is the gate."""

    request: float
    gate: float


async def verdicts(world: World, count: int, *, cached: bool) -> float:
    """``POST /v1/evaluate`` per second: the same question each time, or a new one.

    Raises:
        RuntimeError: an answer was none, or came from the cache where it should not, or the other way round.
    """
    run = uuid4().hex
    bodies = [_question(run if cached else f"{run} {number}") for number in range(count)]
    if cached:
        await burst(world.api, [("POST", "/v1/evaluate", bodies[0])], token=world.token)
    load = await burst(
        world.api, [("POST", "/v1/evaluate", body) for body in bodies], token=world.token, connections=_CLIENTS
    )
    for answer in load.answers:
        if answer.status != 200 or orjson.loads(answer.body)["cached"] is not cached:
            raise RuntimeError(f"not the verdict that was to be measured: {answer.status} {answer.body!r}")
    return load.rate


async def bare_gets(world: World, count: int) -> float:
    """A bare route that does one Redis GET, per second.

    Raises:
        RuntimeError: it did not answer.
    """
    load = await burst(world.bare_api, [("GET", "/redis", None)] * count, connections=_CLIENTS)
    wrong = [answer.status for answer in load.answers if answer.status != 200]
    if wrong:
        raise RuntimeError(f"{len(wrong)} of {count} requests answered {wrong[0]}")
    return load.rate


async def job_cost(world: World, count: int) -> JobCost:
    """One job after the other over REST, and what the gate's parts of that take by themselves.

    Raises:
        RuntimeError: a job was refused.
    """
    body = orjson.dumps({"capsule_id": _CAPSULE, "inputs": {"t": "x"}})
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        load = await burst(world.api, [("POST", "/v1/jobs", body)], token=world.token)
        taken.append(time.perf_counter() - start)
        if load.answers[0].status != 202:
            raise RuntimeError(f"a job was refused: {load.answers[0].body!r}")
    command = [sys.executable, "-m", "somagent.benchmarks.gate_cost", TENANT, _CAPSULE]
    done = subprocess.run(command, env=dict(world.environment), check=True, capture_output=True)  # noqa: ASYNC221
    return JobCost(statistics.median(taken), sum(orjson.loads(done.stdout).values()) / 1e6)


def _question(prompt: str) -> bytes:
    return orjson.dumps(
        {
            "session_id": "bench",
            "prompt": f"Summarise the minutes of the harbour board. {prompt}",
            "role": "summarization",
            "metadata": {"action": "slm.complete", "risk": 0.2, "confidence": 0.9},
        }
    )

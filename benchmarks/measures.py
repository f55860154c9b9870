"""What is measured, each for SomaGent and for the bare side. Every job is verified afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

import orjson
import psutil
from temporalio.client import Client

from somagent.benchmarks.bare_workflows import WORKFLOW_QUEUE, BareWorkflow
from somagent.benchmarks.load import burst
from somagent.benchmarks.world import World

CLIENTS = 16


@dataclass(frozen=True, slots=True)
class Throughput:
    """Jobs per second: ``accepted`` by the first answer, ``completed`` from the first request to the last result."""

    accepted: float
    completed: float


async def soma_jobs(world: World, count: int, steps: int) -> Throughput:
    """Submit ``count`` jobs of ``steps`` light steps over REST, and wait until Postgres says they are completed.

    Raises:
        RuntimeError: a job was refused, failed, or gave another result than it should.
    """
    body = orjson.dumps({"capsule_id": f"bench_light_{steps}", "inputs": {"t": "x"}})
    start = time.perf_counter()
    load = await burst(world.api, [("POST", "/v1/jobs", body)] * count, token=world.token, connections=CLIENTS)
    accepted = time.perf_counter() - start
    ids = [orjson.loads(answer.body)["id"] for answer in load.answers if answer.status == 202]
    if len(ids) != count:
        raise RuntimeError(f"{count - len(ids)} of {count} jobs were refused: {load.answers[-1].body!r}")
    await _until_completed(world, set(ids))
    completed = time.perf_counter() - start
    await _verify(world, ids)
    return Throughput(count / accepted, count / completed)


async def _until_completed(world: World, left: set[str]) -> None:
    """Look at a few jobs at a time, so that looking costs little of what is measured."""
    while left:
        sample = list(left)[:4]
        load = await burst(
            world.api, [("GET", f"/v1/jobs/{job_id}", None) for job_id in sample], token=world.token, connections=1
        )
        done = 0
        for answer in load.answers:
            job = orjson.loads(answer.body)
            if job["status"] == "completed":
                left.discard(job["id"])
                done += 1
            elif job["status"] in ("failed", "cancelled", "killed"):
                raise RuntimeError(f"job {job['id']} ended as {job['status']}: {job['error']}")
        if done < len(sample):
            await asyncio.sleep(0.05)


async def _verify(world: World, ids: Sequence[str]) -> None:
    load = await burst(
        world.api, [("GET", f"/v1/jobs/{job_id}", None) for job_id in ids], token=world.token, connections=4
    )
    for answer in load.answers:
        job = orjson.loads(answer.body)
        if job["result"] != {"outputs": {"text": "hello x"}} or any(s["status"] != "completed" for s in job["steps"]):
            raise RuntimeError(f"job {job['id']} is not what it should be: {job}")


async def bare_workflows(world: World, count: int, steps: int) -> Throughput:
    """Start ``count`` bare workflows, and wait for their results."""
    client = await Client.connect(world.temporal)
    limit = asyncio.Semaphore(CLIENTS)
    run = uuid4().hex[:8]

    async def begin(number: int) -> str:
        async with limit:
            handle = await client.start_workflow(
                BareWorkflow.run, steps, id=f"bare-{run}-{number}", task_queue=WORKFLOW_QUEUE
            )
            return handle.id

    start = time.perf_counter()
    ids = await asyncio.gather(*(begin(number) for number in range(count)))
    accepted = time.perf_counter() - start
    results = await asyncio.gather(*(client.get_workflow_handle(workflow_id).result() for workflow_id in ids))
    completed = time.perf_counter() - start
    if any(result != "hello x" for result in results):
        raise RuntimeError("a bare workflow gave another result than it should")
    return Throughput(count / accepted, count / completed)


async def soma_reads(world: World, job_id: str, count: int) -> float:
    """``GET /v1/jobs/{id}`` per second."""
    load = await burst(world.api, [("GET", f"/v1/jobs/{job_id}", None)] * count, token=world.token, connections=8)
    return _rate(load.rate, [answer.status for answer in load.answers], 200)


async def bare_reads(world: World, job_id: str, count: int) -> float:
    """The bare route's reads per second."""
    load = await burst(world.bare_api, [("GET", f"/jobs/{job_id}", None)] * count, connections=8)
    return _rate(load.rate, [answer.status for answer in load.answers], 200)


async def bare_inserts(world: World, count: int) -> tuple[float, str]:
    """The bare route's inserts per second, and the id of one of its rows."""
    body = orjson.dumps({"capsule_id": "bench_light_3", "inputs": {"t": "x"}})
    load = await burst(world.bare_api, [("POST", "/jobs", body)] * count, connections=CLIENTS)
    job_id = str(orjson.loads(load.answers[0].body)["id"])
    return _rate(load.rate, [answer.status for answer in load.answers], 202), job_id


async def one_job(world: World) -> str:
    """The id of a completed three-step job."""
    body = orjson.dumps({"capsule_id": "bench_light_3", "inputs": {"t": "x"}})
    load = await burst(world.api, [("POST", "/v1/jobs", body)], token=world.token)
    job_id = str(orjson.loads(load.answers[0].body)["id"])
    await _until_completed(world, {job_id})
    return job_id


def memory(world: World) -> dict[str, float]:
    """Resident MiB by process, children included."""
    weights: dict[str, float] = {}
    for name, pid in world.pids.items():
        if name == "temporal-ui":
            continue
        process = psutil.Process(pid)
        family = [process, *(process.children(recursive=True) if name == "postgres" else [])]
        weights[name] = sum(member.memory_info().rss for member in family) / 2**20
    return weights


def _rate(rate: float, statuses: Sequence[int], wanted: int) -> float:
    wrong = [status for status in statuses if status != wanted]
    if wrong:
        raise RuntimeError(f"{len(wrong)} of {len(statuses)} requests answered {wrong[0]}")
    return rate

"""One bare worker process: ``python -m somagent.benchmarks.bare_worker ADDRESS workflows|activities``."""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop
from temporalio.client import Client
from temporalio.worker import Worker

from somagent.benchmarks.bare_workflows import ACTIVITY_QUEUE, WORKFLOW_QUEUE, BareWorkflow, bare_step


async def main(address: str, role: str) -> None:
    """Work until SIGTERM."""
    client = await Client.connect(address)
    worker = (
        Worker(client, task_queue=WORKFLOW_QUEUE, workflows=[BareWorkflow])
        if role == "workflows"
        else Worker(client, task_queue=ACTIVITY_QUEUE, activities=[bare_step], max_concurrent_activities=50)
    )
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with worker:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await stopping.wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))

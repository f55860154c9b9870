"""What a worker holds open, and how its services are put together: the composition root."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from temporalio.client import Client

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.keys import KeyRing
from somagent.adapters.postgres.database import Database
from somagent.adapters.queue.port import Queue
from somagent.adapters.queue.redis_streams import RedisStreams
from somagent.adapters.settings import Settings
from somagent.adapters.slm.registry import Providers, providers_from
from somagent.adapters.temporal.client import connect
from somagent.adapters.tools.registry import ToolRegistry
from somagent.services.gate.gate import Gate, open_gate
from somagent.services.in_house import recorded_effects
from somagent.services.jobs.children import ChildJobs
from somagent.services.jobs.effects import Effects
from somagent.services.jobs.models import ModelSteps
from somagent.services.jobs.places import Places
from somagent.services.jobs.runner import StepRunner
from somagent.services.memory import MemoryService
from somagent.services.rate_limits import RateLimits
from somagent.services.sessions.answering import TurnAnswers
from somagent.services.wakeups import Wakeups


@dataclass(frozen=True, slots=True)
class Parts:
    """One per process. ``sdk_metrics`` is where the Temporal SDK serves its own metrics."""

    settings: Settings
    app_db: Database
    system_db: Database
    redis: Redis
    queue: Queue
    client: Client
    folder: CapsulesFolder
    providers: Providers
    runner: StepRunner
    children: ChildJobs
    models: ModelSteps
    turns: TurnAnswers
    wakeups: Wakeups
    keyring: KeyRing
    gate: Gate
    sdk_metrics: str


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Open everything a worker needs, and close it in reverse.

    Raises:
        SomaError: ``database_unavailable``.
        RuntimeError: Temporal does not answer.
    """
    async with AsyncExitStack() as stack:
        app_db = await Database.open(
            settings.postgres_app_url.get_secret_value(), pool_size=settings.postgres_pool_size
        )
        stack.push_async_callback(app_db.close)
        system_db = await Database.open(settings.postgres_system_url.get_secret_value(), pool_size=3)
        stack.push_async_callback(system_db.close)
        redis = Redis.from_url(settings.redis_url.get_secret_value(), socket_connect_timeout=3, socket_timeout=10)
        stack.push_async_callback(redis.aclose)
        queue = RedisStreams(redis)
        stack.push_async_callback(queue.close)
        providers = providers_from(settings)
        stack.push_async_callback(providers.close)
        tools = ToolRegistry(settings)
        stack.push_async_callback(tools.close)
        keyring = KeyRing(settings.keys)
        gate = await stack.enter_async_context(open_gate(settings, system_db, keyring))
        port = _free_port()
        wakeups = Wakeups(redis)
        memory = MemoryService(providers.embedding)
        effects = Effects(tools, recorded_effects(settings, providers.embedding, gate))
        yield Parts(
            settings=settings,
            app_db=app_db,
            system_db=system_db,
            redis=redis,
            queue=queue,
            client=await connect(settings, metrics_port=port),
            folder=CapsulesFolder(settings.capsules_dir),
            providers=providers,
            runner=StepRunner(app_db, effects, Places(settings), RateLimits(settings), wakeups, gate),
            children=ChildJobs(app_db, wakeups, gate),
            models=ModelSteps(app_db, queue, memory, wakeups, gate),
            turns=TurnAnswers(app_db, queue, memory, wakeups, gate, settings.attachments),
            wakeups=wakeups,
            keyring=keyring,
            gate=gate,
            sdk_metrics=f"http://127.0.0.1:{port}/metrics",
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

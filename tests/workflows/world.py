"""Jobs with the product's own workers on a real Postgres, and a Temporal of the test's choice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import yaml
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from somagent.adapters.postgres.database import Database
from somagent.adapters.settings import Settings
from somagent.adapters.temporal.client import SOMA_CAPSULE, SOMA_STATUS, SOMA_TENANT
from somagent.deploy.local.ports import HOST
from somagent.services.jobs.deciding import Vote, decide
from somagent.services.jobs.reading import FinishedJobs, read_events
from somagent.services.jobs.requests import JobRequest
from somagent.services.jobs.submission import submit
from somagent.services.starter import Recorded, tell
from somagent.services.tenants import ensure_tenant
from somagent.tests.capsules.platform import Addresses
from somagent.tests.skipping import start_skipping
from somagent.workers.parts import Parts, open_parts
from somagent.workers.roles import Role, activities_role, workflows_role

Json = dict[str, Any]
PATIENCE = 90.0


@dataclass(frozen=True, slots=True)
class World:
    """One tenant with capsules, and workers that run its jobs."""

    parts: Parts
    temporal: Client
    owner_db: Database
    tenant: str

    async def take(self, capsule_id: str, inputs: Json | None = None) -> Recorded:
        """A job in Postgres, of which Temporal has not been told."""
        request = JobRequest(capsule_id=capsule_id, inputs=inputs or {})
        async with self.connection() as connection, connection.transaction():
            taken = await submit(connection, self.tenant, "ada", request)
        assert taken.recorded is not None
        return taken.recorded

    async def start(self, capsule_id: str, inputs: Json | None = None) -> str:
        """A job under way; its id."""
        recorded = await self.take(capsule_id, inputs)
        await self.tell(recorded)
        return recorded.order.workflow_id.removeprefix("job-")

    async def tell(self, recorded: Recorded) -> None:
        """Tell Temporal what the outbox holds, as the API's process does after its commit."""
        await tell(self.parts.client, recorded.order)
        await self.sql("DELETE FROM outbox WHERE id = $1", recorded.outbox_id)

    def connection(self) -> Any:
        """A connection of this tenant's."""
        return self.parts.app_db.connection(self.tenant)

    def handle(self, job_id: str) -> WorkflowHandle[Any, Any]:
        """The job's workflow."""
        return self.temporal.get_workflow_handle(f"job-{job_id}")

    async def job(self, job_id: str) -> Json:
        """The job as the API shows it."""
        async with self.connection() as connection:
            found: Json = orjson.loads(await FinishedJobs().read(connection, UUID(job_id), ""))
        return found

    async def until(self, job_id: str, *statuses: str) -> Json:
        """The job once it has one of these statuses."""
        async with asyncio.timeout(PATIENCE):
            while (job := await self.job(job_id))["status"] not in statuses:  # noqa: ASYNC110 - other processes' work
                await asyncio.sleep(0.1)
        return job

    async def asked(self, job_id: str) -> Json:
        """The job's first open approval, once people are asked."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for approval in (await self.job(job_id))["approvals"]:
                    if approval["status"] == "pending":
                        found: Json = approval
                        return found
                await asyncio.sleep(0.1)

    async def vote(self, job_id: str, approval: Json, decision: str = "approve", user: str = "ben") -> None:
        """A person's vote, as the API takes it."""
        vote = Vote(
            job_id=UUID(job_id),
            approval_id=UUID(approval["id"]),
            tenant_id=self.tenant,
            user_id=user,
            decision=decision,
            digest=approval["digest"],
            reason=None,
            key=None,
        )
        await decide(self.parts.app_db, self.parts.client, self.parts.gate, vote)

    async def events(self, job_id: str) -> list[tuple[int, str]]:
        """Number and type of every event."""
        async with self.connection() as connection:
            return [(row["seq"], row["type"]) for row in await read_events(connection, UUID(job_id), 0)]

    async def sql(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """A statement as the tables' owner."""
        return list(await self.owner_db.pool.fetch(statement, *arguments))


@asynccontextmanager
async def skipping(server: Path) -> AsyncIterator[WorkflowEnvironment]:
    """Temporal's time-skipping server, which knows our search attributes."""
    environment = await start_skipping(server)
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    async with environment:
        # This server can add search attributes, but not list those it has.
        await environment.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace="default",
                search_attributes={one.name: keyword for one in (SOMA_TENANT, SOMA_CAPSULE, SOMA_STATUS)},
            )
        )
        yield environment


@asynccontextmanager
async def world(
    folder: Path, addresses: Addresses, temporal: Client, capsules: Sequence[Json], *, works: bool = True
) -> AsyncIterator[World]:
    """A tenant of its own with these capsules installed, and (``works``) the product's workers."""
    shelf = folder / "capsules"
    shelf.mkdir()
    for definition in capsules:
        (shelf / f"{definition['id']}.yaml").write_text(yaml.safe_dump(orjson.loads(orjson.dumps(definition))))
    settings = Settings.model_validate(
        {
            "SOMAGENT_DATA_DIR": folder,
            "SOMAGENT_CAPSULES_DIR": shelf,
            "SOMAGENT_KEYS_DIR": addresses.keys,
            "SOMAGENT_POSTGRES_APP_URL": addresses.app,
            "SOMAGENT_POSTGRES_SYSTEM_URL": addresses.system,
            "TEMPORAL_ADDRESS": temporal.service_client.config.target_host,
            "REDIS_URL": f"redis://{HOST}:1/0",
            "SOMAGENT_EGRESS_ALLOW": HOST,
        }
    )
    owner_db = await Database.open(addresses.owner, pool_size=3)
    try:
        async with open_parts(settings) as parts:
            tenant = f"t-{uuid4().hex[:10]}"
            await ensure_tenant(parts.system_db, tenant, shelf)
            running = World(parts, temporal, owner_db, tenant)
            if not works:
                yield running
                return
            async with _at_work(workflows_role(parts)), _at_work(activities_role(parts)):
                yield running
    finally:
        await owner_db.close()


@asynccontextmanager
async def _at_work(role: Role) -> AsyncIterator[None]:
    running = asyncio.create_task(role.run())
    try:
        yield
    finally:
        await role.stop(5)
        await running

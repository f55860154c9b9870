"""The constitution service on real servers, and people in tenants of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from somagent.adapters.postgres.database import Database
from somagent.services.starter import WORKFLOW_QUEUE
from somagent.tests.capsules.platform import (
    ACTIVITY_QUEUE,
    Addresses,
    Platform,
    platform,
    postgres,
    temporal_server,
    until,
)
from somagent.tests.constitution.documents import Json, Signer
from somagent.workers.constitution import constitution_activities, constitution_workflows
from somagent.workers.runner import workflow_runner


@asynccontextmanager
async def workers(client: Client, app_db: Database) -> AsyncIterator[None]:
    """The workers of the constitution service, in this process."""
    workflows = Worker(
        client, task_queue=WORKFLOW_QUEUE, workflows=constitution_workflows(), workflow_runner=workflow_runner()
    )
    activities = Worker(client, task_queue=ACTIVITY_QUEUE, activities=constitution_activities(app_db))
    async with workflows, activities:
        yield


@pytest.fixture(scope="session")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """A migrated Postgres."""
    with postgres(tmp_path_factory.mktemp("postgres") / "data") as running:
        yield running


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Temporal development server."""
    with temporal_server(tmp_path_factory.mktemp("temporal")) as address:
        yield address


@pytest.fixture(scope="session")
async def running(
    tmp_path_factory: pytest.TempPathFactory, addresses: Addresses, temporal_address: str
) -> AsyncIterator[Platform]:
    """Everything."""
    capsules = tmp_path_factory.mktemp("capsules")
    async with (
        platform(tmp_path_factory.mktemp("platform"), capsules, addresses, temporal_address) as started,
        workers(started.temporal, started.app_db),
    ):
        yield started


@dataclass(frozen=True, slots=True)
class Assembly:
    """A tenant: ``ada`` proposes, ``ben`` and ``cyd`` decide; ``signer`` is a key that is registered."""

    platform: Platform
    tenant: str
    ada: httpx.AsyncClient
    ben: httpx.AsyncClient
    cyd: httpx.AsyncClient
    signer: Signer

    async def propose(self, document: Json, **fields: object) -> Json:
        """A proposal, once its findings are in."""
        answer = await self.ada.post("/v1/constitution/proposals", json=self.signer.signed(document, **fields))
        assert answer.status_code == 202, answer.text
        return await self.examined(answer.json()["id"])

    async def examined(self, proposal_id: str) -> Json:
        """The proposal, once its findings are in."""

        async def ready() -> Json | None:
            found: Json = (await self.ada.get(f"/v1/constitution/proposals/{proposal_id}")).json()
            return found if found["findings_ready"] else None

        found: Json = await until(ready)
        return found

    async def vote(self, person: httpx.AsyncClient, proposal: Json, decision: str = "approve") -> httpx.Response:
        """That person's vote."""
        return await person.post(f"/v1/constitution/proposals/{proposal['id']}/vote", json={"decision": decision})

    async def enact(self, document: Json) -> Json:
        """Propose and approve by two; the proposal, activated."""
        proposal = await self.propose(document)
        for person in (self.ben, self.cyd):
            answer = await self.vote(person, proposal)
            assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "activated", answer.text
        decided: Json = answer.json()
        return decided

    async def in_force(self) -> Json:
        """What is in force."""
        answer = await self.ada.get("/v1/constitution")
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found


async def assembly_of(started: Platform) -> Assembly:
    """A tenant of its own with its people."""
    tenant = f"t-{uuid4().hex[:10]}"
    ada, ben, cyd = [await started.client(tenant, user) for user in ("ada", "ben", "cyd")]
    signer = Signer()
    answer = await ada.post("/v1/signing-keys", json=signer.registration)
    assert answer.status_code == 201, answer.text
    return Assembly(started, tenant, ada, ben, cyd, signer)


@pytest.fixture
async def assembly(running: Platform) -> Assembly:
    """A tenant of the test's own."""
    return await assembly_of(running)


@pytest.fixture
async def others(running: Platform) -> Assembly:
    """A second tenant."""
    return await assembly_of(running)

"""One platform for all tests of the repository, and people in tenants of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml

from somagent.tests.capsules.definitions import capsule, submission
from somagent.tests.capsules.platform import Addresses, Platform, platform, postgres, temporal_server, until


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
async def idle_platform(
    tmp_path_factory: pytest.TempPathFactory, addresses: Addresses, temporal_address: str
) -> AsyncIterator[Platform]:
    """Everything but workers."""
    capsules = tmp_path_factory.mktemp("capsules")
    (capsules / "shipped_note.yaml").write_text(yaml.safe_dump(capsule("shipped_note", "1.0.0")))
    async with platform(tmp_path_factory.mktemp("platform"), capsules, addresses, temporal_address) as running:
        yield running


@pytest.fixture(scope="session")
async def repository(idle_platform: Platform) -> AsyncIterator[Platform]:
    """Everything, with workers."""
    async with idle_platform.run_workers():
        yield idle_platform


@dataclass(frozen=True, slots=True)
class People:
    """A tenant with somebody who submits, somebody who reviews, and somebody who installs."""

    tenant: str
    author: httpx.AsyncClient
    reviewer: httpx.AsyncClient
    installer: httpx.AsyncClient

    async def submit(self, definition: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Hand in a capsule, and wait for its findings."""
        answer = await self.author.post("/v1/submissions", json=submission(definition, **changes))
        assert answer.status_code == 202, answer.text
        return await self.examined(answer.json()["id"])

    async def examined(self, submission_id: str) -> dict[str, Any]:
        """The submission, once its findings are in."""

        async def ready() -> dict[str, Any] | None:
            found = (await self.author.get(f"/v1/submissions/{submission_id}")).json()
            return found if found["findings_ready"] else None

        found: dict[str, Any] = await until(ready)
        return found

    async def approve(self, definition: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Hand in a capsule, and have it approved."""
        found = await self.submit(definition, **changes)
        answer = await self.reviewer.post(f"/v1/submissions/{found['id']}/review", json={"decision": "approve"})
        assert answer.status_code == 200, answer.text
        decided: dict[str, Any] = answer.json()
        assert decided["status"] == "approved"
        return decided

    async def install(self, capsule_id: str, **fields: Any) -> dict[str, Any]:
        """Ask for an installation, and wait for its end."""
        answer = await self.installer.post("/v1/installations", json={"capsule_id": capsule_id, **fields})
        assert answer.status_code == 202, answer.text
        return await self.settled(answer.json()["id"])

    async def settled(self, installation_id: str) -> dict[str, Any]:
        """The installation, once it is installed or failed."""

        async def over() -> dict[str, Any] | None:
            found = (await self.installer.get(f"/v1/installations/{installation_id}")).json()
            return found if found["status"] != "installing" else None

        found: dict[str, Any] = await until(over)
        return found


async def people_of(running: Platform, tenant: str = "") -> People:
    """The people of a tenant: a new one unless it is named."""
    name = tenant or f"t-{uuid4().hex[:10]}"
    return People(
        name, await running.client(name, "ada"), await running.client(name, "ben"), await running.client(name, "ivy")
    )


@pytest.fixture
async def people(repository: Platform) -> People:
    """A tenant of the test's own."""
    return await people_of(repository)


@pytest.fixture
async def others(repository: Platform) -> People:
    """A second tenant."""
    return await people_of(repository)

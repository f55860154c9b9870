"""One world for the tests of sessions that leave it whole, and people in tenants of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from somagent.deploy.local.ports import free_port
from somagent.tests.capsules.platform import Addresses, postgres, temporal_server
from somagent.tests.sessions.capsules import CAPSULES
from somagent.tests.sessions.world import Person, World, world
from somagent.tests.slm.model_server import ModelServer
from somagent.tests.slm.redis_server import RedisServer


@pytest.fixture(scope="package")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """A migrated Postgres."""
    with postgres(tmp_path_factory.mktemp("postgres") / "data") as running:
        yield running


@pytest.fixture(scope="package")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Temporal development server."""
    with temporal_server(tmp_path_factory.mktemp("temporal")) as address:
        yield address


@pytest.fixture(scope="package")
def redis_server() -> Iterator[RedisServer]:
    """A redis-server."""
    server = RedisServer(free_port())
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="package")
async def sessions(
    tmp_path_factory: pytest.TempPathFactory, addresses: Addresses, temporal_address: str, redis_server: RedisServer
) -> AsyncIterator[World]:
    """Everything, with the built-in model, in region eu-1."""
    folder: Path = tmp_path_factory.mktemp("sessions")
    async with world(
        folder, addresses, temporal_address, redis_server, capsules=CAPSULES, SOMAGENT_REGION="eu-1"
    ) as running:
        yield running


@pytest.fixture
async def ann(sessions: World) -> AsyncIterator[Person]:
    """Somebody in a tenant of her own."""
    person = await sessions.person()
    yield person
    await person.http.aclose()


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    """A model server process that answers as a test scripts it."""
    server = ModelServer()
    server.start()
    yield server
    server.stop()

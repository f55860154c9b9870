"""A real Postgres of these tests' own, and memory as the built-in embedder gives it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from somagent.adapters.postgres.database import Database, TenantConnection
from somagent.adapters.slm.builtin import BuiltinProvider
from somagent.services.memory import MemoryService
from somagent.tests.api.servers import PostgresServer


@pytest.fixture(scope="session")
def memory_postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
async def database(memory_postgres: PostgresServer) -> AsyncIterator[Database]:
    """Postgres as role soma_app."""
    opened = await Database.open(memory_postgres.app_url, pool_size=4)
    yield opened
    await opened.close()


@pytest.fixture
def memory() -> MemoryService:
    return MemoryService(BuiltinProvider())


@pytest.fixture
def tenant() -> str:
    """A tenant that no other test has."""
    return f"tenant-{uuid4().hex[:12]}"


@pytest.fixture
async def connection(database: Database, tenant: str) -> AsyncIterator[TenantConnection]:
    async with database.connection(tenant) as opened:
        yield opened

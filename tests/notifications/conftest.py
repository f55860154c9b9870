"""A real Postgres, a real webhook on a socket, and the notifier between them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr

from somagent.adapters.postgres.database import Database
from somagent.adapters.settings import Settings
from somagent.tests.api.servers import PostgresServer
from somagent.tests.notifications.receiver import Receiver
from somagent.workers.notifier import Notifier


@pytest.fixture(scope="session")
def notifications_postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.remove()


@pytest.fixture(scope="session")
async def app_db(notifications_postgres: PostgresServer) -> AsyncIterator[Database]:
    opened = await Database.open(notifications_postgres.app_url, pool_size=4)
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
async def system_db(notifications_postgres: PostgresServer) -> AsyncIterator[Database]:
    opened = await Database.open(notifications_postgres.system_url, pool_size=8)
    yield opened
    await opened.close()


@pytest.fixture
async def nothing_left(system_db: Database) -> None:
    """No notification of another test is waiting."""
    await system_db.pool.execute("DELETE FROM notifications")
    await system_db.pool.execute("DELETE FROM outbox")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as opened:
        yield opened


@pytest.fixture
def settings(receiver: Receiver) -> Settings:
    return Settings(
        webhooks=SecretStr(json.dumps({"ops": f"{receiver.url}/T0/the-secret", "down": receiver.closed_url}))
    )


@pytest.fixture
async def notifier(settings: Settings, system_db: Database, nothing_left: None) -> AsyncIterator[Notifier]:
    opened = Notifier(settings, system_db, timeout_seconds=20)
    yield opened
    await opened.close()

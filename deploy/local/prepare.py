"""What must be so before SomaGent's own processes start: schema, keys, first administrator, search attributes.

Runs as a process of its own (``python -m somagent.deploy.local.prepare``), which keeps the database driver and
Temporal's threads out of the supervisor. Reads the stack's environment; prints what went wrong on its last line.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg
from temporalio.client import Client
from temporalio.service import RPCError

from somagent.adapters.postgres.database import Database
from somagent.adapters.postgres.migrate import migrate
from somagent.adapters.settings import Settings, load_settings
from somagent.adapters.temporal.retention import ensure_retention
from somagent.adapters.temporal.search_attributes import ensure_search_attributes
from somagent.deploy.local.administrator import keep_password
from somagent.deploy.local.layout import Layout
from somagent.deploy.local.postgres import DATABASE, OWNER
from somagent.domain.errors import Code, SomaError
from somagent.services.constitution.founding import found_deployment
from somagent.services.identity.administrators import ensure_first

_PATIENCE_SECONDS = 10.0
_STILL_STARTING = (OSError, asyncpg.CannotConnectNowError)
T = TypeVar("T")


def main() -> int:
    """Prepares everything; 0 when all is so."""
    settings = load_settings()
    try:
        prepare(settings)
    except SomaError as error:
        print(error.detail, file=sys.stderr)  # noqa: T201 (the supervisor passes this line on)
        return 1
    return 0


def prepare(settings: Settings) -> None:
    """Prepares database, keys, the first administrator and Temporal, each idempotently.

    Raises:
        SomaError: ``database_unavailable`` or ``temporal_unavailable``, or ``part_missing`` without pgvector.
    """
    owner_url = settings.postgres_url.get_secret_value()
    asyncio.run(_prepare_database(owner_url))
    migrate(
        owner_url,
        _password_of(settings.postgres_app_url.get_secret_value()),
        _password_of(settings.postgres_system_url.get_secret_value()),
    )
    asyncio.run(found_deployment(owner_url, settings.keys))
    asyncio.run(_prepare_administrator(settings))
    asyncio.run(_prepare_temporal(settings))


def _password_of(url: str) -> str:
    return unquote(urlsplit(url).password or "")


async def _prepare_database(owner_url: str) -> None:
    try:
        connection = await _patiently(lambda: asyncpg.connect(owner_url, timeout=5), *_STILL_STARTING)
    except asyncpg.InvalidCatalogNameError:
        await _create_database(owner_url)
        connection = await asyncpg.connect(owner_url, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise SomaError(
            Code.DATABASE_UNAVAILABLE,
            f"Postgres at {_without_password(owner_url)} does not answer: {error}. "
            "Check POSTGRES_URL and its password.",
        ) from error
    try:
        if not await connection.fetchval("select true from pg_available_extensions where name = 'vector'"):
            raise SomaError(
                Code.PART_MISSING,
                f"Postgres at {_without_password(owner_url)} has no pgvector extension. "
                "Install it there (Debian: postgresql-NN-pgvector), or unset POSTGRES_URL.",
            )
    finally:
        await connection.close()


async def _create_database(owner_url: str) -> None:
    """Makes the embedded server's database; on another server that is its administrator's matter."""
    parts = urlsplit(owner_url)
    if parts.path != f"/{DATABASE}":
        raise SomaError(
            Code.DATABASE_UNAVAILABLE,
            f"Postgres at {_without_password(owner_url)} has no such database. Create it, or correct POSTGRES_URL.",
        )
    connection = await asyncpg.connect(urlunsplit(parts._replace(path=f"/{OWNER}")), timeout=5)
    try:
        await connection.execute("create database somagent")
    finally:
        await connection.close()


async def _prepare_administrator(settings: Settings) -> None:
    layout = Layout.of(settings.data_dir)
    database = await Database.open(settings.postgres_system_url.get_secret_value(), pool_size=1)
    try:
        await ensure_first(database, settings.capsules_dir, lambda password: keep_password(layout, password))
    finally:
        await database.close()


async def _prepare_temporal(settings: Settings) -> None:
    address, namespace = settings.temporal_address, settings.temporal_namespace
    try:
        client = await _patiently(lambda: Client.connect(address, namespace=namespace), RuntimeError)
        await _patiently(lambda: ensure_search_attributes(client), RPCError)
        if settings.temporal_retention_days:
            await ensure_retention(client, settings.temporal_retention_days)
    except (RuntimeError, RPCError) as error:
        raise SomaError(
            Code.TEMPORAL_UNAVAILABLE,
            f"Temporal at {address} (namespace {namespace}) does not answer: {error}. "
            "Check TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE.",
        ) from error


async def _patiently(act: Callable[[], Awaitable[T]], *passing: type[Exception]) -> T:
    """Repeats what fails only because a server is still starting."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return await act()
        except passing:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host))


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # an orderly exit can abort in the Temporal SDK's threads (its issue 300)

"""What the operator's commands work on: the keys folder and the database of a data dir, or of the environment."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import asyncpg
from cyclopts import Parameter

from somagent.deploy.local.layout import Layout, default_data_dir
from somagent.deploy.local.state import running_state
from somagent.domain.errors import Code, SomaError

if TYPE_CHECKING:
    from somagent.adapters.postgres.database import Database

SYSTEM_URL = "SOMAGENT_POSTGRES_SYSTEM_URL"
_KEYS_DIR = "SOMAGENT_KEYS_DIR"

DataDir = Annotated[Path | None, Parameter(name="--data-dir", help="The stack's folder.")]


def layout_of(data_dir: Path | None) -> Layout:
    """The layout of the folder given, else of the environment's or the current one."""
    return Layout.of(data_dir or default_data_dir())


def keys_of(layout: Layout) -> Path:
    """Where the deployment's keys lie: the environment's folder, else the data dir's."""
    given = os.environ.get(_KEYS_DIR)
    return Path(given) if given else layout.keys


def existing_keys_of(layout: Layout) -> Path:
    """The same, where there are keys already: a mistyped folder must not get new ones.

    Raises:
        SomaError: ``not_found``.
    """
    keys = keys_of(layout)
    if not any(keys.glob("*.pem")):
        raise SomaError(Code.NOT_FOUND, f"There are no signing keys in {keys}. Is this the data directory?")
    return keys


def system_url(layout: Layout) -> str:
    """The environment's address, else the running stack's.

    Raises:
        SomaError: ``stack_not_running``.
    """
    given = os.environ.get(SYSTEM_URL)
    if given:
        return given
    url = running_state(layout).environment.get(SYSTEM_URL)
    if not url:
        raise SomaError(Code.STACK_NOT_RUNNING, f"The stack in {layout.root} is still starting. Try again shortly.")
    return url


@asynccontextmanager
async def system_connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection across tenants.

    Raises:
        SomaError: ``database_unavailable``.
    """
    try:
        connection = await asyncpg.connect(url, timeout=5)
        try:
            yield connection
        finally:
            await connection.close(timeout=1)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise SomaError(
            Code.DATABASE_UNAVAILABLE,
            f"Postgres does not answer as it should ({type(error).__name__}). Is the stack up? See `somagent status`.",
        ) from error


@asynccontextmanager
async def system_database(url: str) -> AsyncIterator[Database]:
    """The same for what needs units of work; half a second of imports.

    Raises:
        SomaError: ``database_unavailable``.
    """
    from somagent.adapters.postgres.database import Database

    database = await Database.open(url, pool_size=1)
    try:
        yield database
    finally:
        await database.close()

"""Bringing a database to the current schema, and its roles to what row-level security needs.

Three roles: the owner of POSTGRES_URL owns the tables and runs migrations; ``soma_app`` is what API and workers log
in as, and sees one tenant at a time; ``soma_system`` is the relay's, and sees them all.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config

from somagent.adapters.postgres.urls import sqlalchemy_url

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 7_305_001


def migrate(owner_url: str, app_password: str, system_password: str) -> None:
    """Create roles and extensions and apply every migration. Safe to repeat and to run at once in several places.

    Raises:
        OSError, asyncpg.PostgresError: the server does not answer, or the owner may not do this.
    """
    asyncio.run(_prepare(owner_url, {"soma_app": app_password, "soma_system": system_password}))
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["url"] = sqlalchemy_url(owner_url)
    command.upgrade(config, "head")


async def _prepare(owner_url: str, passwords: dict[str, str]) -> None:
    dsn = sqlalchemy_url(owner_url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            for role, password in passwords.items():
                exists = await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
                # Attributes are set when a role is made: to change them later even to what they are takes a superuser,
                # which the owner of a managed database is not.
                change = "ALTER ROLE %I LOGIN" if exists else "CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE"
                # A role's name and password cannot be bound; Postgres quotes them itself.
                statement = await connection.fetchval(
                    "SELECT format($1::text || ' PASSWORD %L', $2::text, $3::text)", change, role, password
                )
                await connection.execute(statement)
    finally:
        await connection.close()

"""Opening Postgres and giving out units of work, each bound to one tenant by row-level security.

Two roads to the same server: SQLAlchemy sessions for what people do, and a pool of plain asyncpg connections for the
statements that a job pays for at every step. Both bind the tenant before the first statement.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as SqlTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine

from somagent.adapters.postgres.urls import sqlalchemy_url
from somagent.domain.errors import Code, SomaError

_BIND = text("SELECT set_config('soma.tenant', :tenant, true)")
_UNREACHABLE = (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, asyncpg.InterfaceError)


class TenantConnection(asyncpg.Connection):
    """A connection that knows which tenant it is bound to, so that binding it again costs nothing."""

    soma_tenant: str | None = None

    async def bind(self, tenant_id: str) -> None:
        """Bind the session to ``tenant_id``; every policy reads this setting."""
        if self.soma_tenant != tenant_id:
            self.soma_tenant = None
            await self.execute("SELECT set_config('soma.tenant', $1, false)", tenant_id)
            self.soma_tenant = tenant_id


async def _keep_session(_: Any) -> None:
    """Returning a connection keeps its settings: nothing but ``bind`` ever changes one."""


class Database:
    """The app's Postgres under one role (``soma_app``, or ``soma_system`` for the relay)."""

    def __init__(self, engine: AsyncEngine, pool: asyncpg.Pool, patience: float) -> None:
        self._engine = engine
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self.pool = pool
        self.guard: Callable[[], Awaitable[None]] | None = None
        """Asked before each unit of work: it raises when it is known that Postgres does not answer."""
        self._patience = patience

    @classmethod
    async def open(
        cls, address: str, *, pool_size: int = 10, patience: float = 10.0, statement_seconds: float | None = None
    ) -> Database:
        """Connect.

        Args:
            patience: seconds that a unit of work waits for a connection, and for giving one back.
            statement_seconds: how long a statement may take; without it, as long as it takes.

        Raises:
            SomaError: ``database_unavailable``, when the server does not answer; ``validation_failed`` without address.
        """
        if not address:
            raise SomaError(
                Code.VALIDATION_FAILED,
                "No address of Postgres is given. Set SOMAGENT_POSTGRES_APP_URL and SOMAGENT_POSTGRES_SYSTEM_URL, "
                "or use `somagent up`, which does.",
            )
        engine = create_async_engine(
            sqlalchemy_url(address),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_pre_ping=True,
            pool_timeout=patience,
            connect_args={"timeout": 5, "command_timeout": statement_seconds},
        )
        try:
            pool = await asyncpg.create_pool(
                _asyncpg_dsn(address),
                min_size=1,
                max_size=pool_size,
                connection_class=TenantConnection,
                reset=_keep_session,
                timeout=5,
                command_timeout=statement_seconds,
            )
        except _UNREACHABLE as error:
            await engine.dispose()
            raise unavailable(error) from error
        return cls(engine, pool, patience)

    async def close(self) -> None:
        """Give back every connection."""
        await self.pool.close()
        await self._engine.dispose()

    @asynccontextmanager
    async def tenant(self, tenant_id: str) -> AsyncIterator[AsyncSession]:
        """A unit of work that sees one tenant's rows only; committed at the end, rolled back on error."""
        if self.guard is not None:
            await self.guard()
        try:
            async with self._sessions.begin() as session:
                await session.execute(_BIND, {"tenant": tenant_id})
                yield session
        except (*_UNREACHABLE, TimeoutError, SqlTimeoutError) as error:
            raise unavailable(error) from error

    @asynccontextmanager
    async def system(self) -> AsyncIterator[AsyncSession]:
        """A unit of work without a tenant. Only role ``soma_system`` sees any rows in it."""
        try:
            async with self._sessions.begin() as session:
                yield session
        except _UNREACHABLE as error:
            raise unavailable(error) from error

    @asynccontextmanager
    async def connection(self, tenant_id: str) -> AsyncIterator[TenantConnection]:
        """A plain connection bound to ``tenant_id``; each statement is its own transaction unless one is opened."""
        if self.guard is not None:
            await self.guard()
        try:
            async with self.pool.acquire(timeout=self._patience) as proxy:
                connection = cast("TenantConnection", proxy)
                await connection.bind(tenant_id)
                yield connection
        except (*_UNREACHABLE, TimeoutError) as error:
            raise unavailable(error) from error

    async def ping(self) -> None:
        """One round trip.

        Raises:
            SomaError: ``database_unavailable``.
        """
        try:
            async with self.pool.acquire(timeout=2) as connection:
                await connection.fetchval("SELECT 1", timeout=2)
        except (*_UNREACHABLE, TimeoutError) as error:
            raise unavailable(error) from error


async def raw_connection(session: AsyncSession) -> TenantConnection:
    """The asyncpg connection under a session, inside the session's own transaction."""
    connection = await session.connection()
    raw = await connection.get_raw_connection()
    return cast("TenantConnection", raw.driver_connection)


def unavailable(error: BaseException) -> SomaError:
    """What people are told while Postgres does not answer; the driver's words stay in the log."""
    return SomaError(
        Code.DATABASE_UNAVAILABLE,
        f"Postgres does not answer ({type(error).__name__}). Nothing was changed; try again shortly.",
        retry_after=2,
    )


def _asyncpg_dsn(address: str) -> str:
    return sqlalchemy_url(address).set(drivername="postgresql").render_as_string(hide_password=False)

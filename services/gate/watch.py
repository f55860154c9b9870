"""Keeping what governs in memory: read whole at the start, and again as soon as it changes.

Triggers raise a counter a kind of rows and notify. A process looks at the counters when it is notified, and every
0.4 s in any case, so that a lost notification costs no more than that. While Postgres cannot be asked, what is
remembered grows old; past :data:`STALE_SECONDS` nobody may rely on it: no verdict is a refusal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

import asyncpg
import structlog

from somagent.adapters.postgres.database import Database
from somagent.domain.errors import Code, SomaError

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.4
STALE_SECONDS: Final = 3.0
_CHANNEL: Final = "soma_gate"


class Book(Protocol):
    """A kind of governing rows, held in memory."""

    kind: str
    """The counter in ``gate_changes`` that tells of changes."""

    async def load(self, connection: asyncpg.Connection) -> None:
        """Read everything again; the connection sees all tenants."""
        ...


class GateWatch:
    """Keeps books up to date."""

    def __init__(self, database: Database, books: Sequence[Book]) -> None:
        """``database`` as ``soma_system``: what governs is read for all tenants at once."""
        self._database = database
        self._books = {book.kind: book for book in books}
        self._versions: dict[str, int] = {}
        self._looked_at = -STALE_SECONDS - 1
        self._task: asyncio.Task[None] | None = None
        self._looking = asyncio.Lock()
        self._nudge = asyncio.Event()

    async def start(self) -> None:
        """Read everything, and go on looking.

        Raises:
            SomaError: ``database_unavailable``.
        """
        await self.refresh()
        self._task = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def refresh(self) -> None:
        """Read again what has changed. Whoever changed something calls it after the commit, before answering.

        Raises:
            SomaError: ``database_unavailable``.
        """
        async with self._looking, self._database.connection("") as connection:
            await self._look(connection)

    async def _look(self, connection: asyncpg.Connection) -> None:
        looked_at = time.monotonic()
        versions = {
            row["kind"]: row["version"] for row in await connection.fetch("SELECT kind, version FROM gate_changes")
        }
        for kind, book in self._books.items():
            if self._versions.get(kind) != versions.get(kind, 0):
                await book.load(connection)
                self._versions[kind] = versions.get(kind, 0)
        self._looked_at = looked_at

    async def ensure_fresh(self) -> None:
        """Insist that what is remembered is of this moment; usually that costs a look at a clock.

        A process that was held up (a laden machine, a long import) looks again instead of refusing.

        Raises:
            SomaError: ``database_unavailable``, when Postgres cannot be asked.
        """
        if self._is_fresh():
            return
        try:
            async with asyncio.timeout(STALE_SECONDS):
                await self.refresh()
        except (SomaError, TimeoutError, asyncpg.PostgresError) as error:
            if self._is_fresh():  # another task's look has succeeded meanwhile
                return
            raise SomaError(
                Code.DATABASE_UNAVAILABLE,
                "Postgres does not answer, so nobody can tell what governs at this moment. Nothing was decided; "
                "try again shortly.",
                retry_after=2,
            ) from error

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._looked_at <= STALE_SECONDS

    async def _watch(self) -> None:
        while True:
            try:
                async with self._database.connection("") as connection:
                    await connection.add_listener(_CHANNEL, self._notified)
                    try:
                        await self._look_until_it_fails(connection)
                    finally:
                        if not connection.is_closed():
                            await connection.remove_listener(_CHANNEL, self._notified)
            except Exception as error:  # whatever it was: what is remembered grows stale, and is refused then
                log.warning("gate_not_read", error=repr(error))
                await asyncio.sleep(LOOK_SECONDS)

    async def _look_until_it_fails(self, connection: asyncpg.Connection) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):  # wait_for of 3.11 can lose the cancellation that ends us
                    await self._nudge.wait()
            self._nudge.clear()
            async with self._looking:
                await self._look(connection)

    def _notified(self, *_: object) -> None:
        self._nudge.set()

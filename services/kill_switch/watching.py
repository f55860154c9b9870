"""Telling a running step that its job was stopped."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final
from uuid import UUID

import asyncpg

from somagent.adapters.postgres.database import Database
from somagent.domain.errors import SomaError
from somagent.services.gate.books import Stop
from somagent.services.gate.gate import Gate

LOOK_SECONDS: Final = 0.2
AGAIN_SECONDS: Final = 2.0
"""After which a job is asked for again while the same switches are engaged."""

_STOPPED: Final = "SELECT kill_switch_id IS NOT NULL FROM jobs WHERE id = $1"


class StopWatch:
    """Looks into the gate's memory, and only while something there concerns the tenant into Postgres."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._database = database
        self._gate = gate

    async def until_stopped(self, tenant_id: str, job_id: str) -> None:
        """Return once a kill switch has stopped the job. While Postgres is away nobody can tell, and it is let run."""
        known: tuple[Stop, ...] = ()
        due = 0.0
        while True:
            stops = self._gate.kills.concerning(tenant_id)
            if stops and (stops != known or time.monotonic() > due):
                known, due = stops, time.monotonic() + AGAIN_SECONDS
                with suppress(SomaError, asyncpg.PostgresError):
                    async with self._database.connection(tenant_id) as connection:
                        if await connection.fetchval(_STOPPED, UUID(job_id)):
                            return
            await asyncio.sleep(LOOK_SECONDS)

"""Sealing what was taken in, as the relay does; no relay runs in these tests."""

from __future__ import annotations

import asyncio

from somagent.adapters.keys import KeyRing
from somagent.adapters.postgres.database import Database
from somagent.services.audit.sealing import Sealer
from somagent.tests.api.servers import PostgresServer


def seal_everything(postgres: PostgresServer) -> None:
    """Every chain of the deployment, with its newest key."""
    asyncio.run(_seal(postgres))


async def _seal(postgres: PostgresServer) -> None:
    database = await Database.open(postgres.system_url, pool_size=1)
    try:
        await Sealer(database, KeyRing(postgres.keys)).seal_all()
    finally:
        await database.close()

"""Looking again while a switch is engaged: for what was held, admitted or retried while it was being set."""

from __future__ import annotations

from datetime import timedelta

import structlog

from somagent.adapters.postgres.database import Database
from somagent.services.kill_switch.stopping import anything_engaged
from somagent.services.kill_switch.switches import stop

log = structlog.get_logger(__name__)


class Sweep:
    """One look across all tenants at a time; nothing to see while no switch is engaged."""

    def __init__(self, database: Database) -> None:
        """``database`` as ``soma_system``."""
        self._database = database

    async def look(self) -> int:
        """Stop what is left. Always answers 0, so that the relay pauses between two looks."""
        async with self._database.connection("") as connection:
            if not await anything_engaged(connection):
                return 0
            async with connection.transaction():
                found = await stop(connection, delay=timedelta())
        if found.tenants:
            log.warning("kill_switch_found_more", stopped=len(found.tenants))
        return 0

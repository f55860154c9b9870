"""What a session's workflow asks of Postgres about the session itself."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from somagent.adapters.postgres.database import Database
from somagent.domain.messages.session import SessionEnding, SessionStanding, SessionStatus
from somagent.services.sessions.ending import end_sessions
from somagent.services.sessions.rows import lock
from somagent.services.wakeups import Wakeups

_OPEN_TURNS: Final = """
SELECT seq FROM session_turns WHERE session_id = $1 AND status IN ('queued', 'running') ORDER BY seq
"""


async def end_session(database: Database, wakeups: Wakeups, ending: SessionEnding) -> SessionStanding:
    """End the session, once; one that is only idle stays active while a turn waits."""
    session_id = UUID(ending.session.session_id)
    async with database.connection(ending.session.tenant_id) as connection, connection.transaction():
        row = await lock(connection, session_id)
        turns = tuple(one["seq"] for one in await connection.fetch(_OPEN_TURNS, session_id))
        if row["status"] != SessionStatus.ACTIVE:
            return SessionStanding(status=row["status"])
        if ending.only_idle and turns:
            return SessionStanding(status=SessionStatus.ACTIVE, open_turns=turns)
        await end_sessions(
            connection, status=ending.status, reason=ending.reason, actor="somagent", session_ids=[session_id]
        )
    wakeups.session_changed(ending.session.session_id)
    return SessionStanding(status=ending.status)

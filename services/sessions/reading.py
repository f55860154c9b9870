"""Sessions as people read them: one statement, and Postgres itself writes the JSON.

People see their own sessions; whoever audits the tenant sees all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg

from somagent.domain.errors import Code, SomaError

MOST_TURNS: Final = 200
"""The latest turns that a session is shown with; the others have addresses of their own."""
_EVENTS_AT_ONCE: Final = 500


def _stamp(column: str) -> str:
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


_TURN: Final = f"""
  json_build_object('session_id', t.session_id, 'seq', t.seq, 'prompt', t.prompt, 'status', t.status,
    'answer', t.answer, 'model', t.model, 'usage', t.usage, 'recalled', coalesce(t.recalled, '[]'), 'error', t.error,
    'request_id', t.request_id, 'job_id', t.job_id, 'policy', t.policy,
    'created_at', {_stamp("t.created_at")}, 'finished_at', {_stamp("t.finished_at")})
"""
_HEAD: Final = f"""
  'session_id', s.id, 'workflow_id', s.workflow_id, 'status', s.status, 'user_id', s.user_id,
  'capsule_id', s.capsule_id, 'metadata', s.meta, 'moderation', s.moderation, 'policy', s.policy,
  'turn_count', s.turns, 'temporal_ui_url', $1::text || '/workflows/' || s.workflow_id,
  'created_at', {_stamp("s.created_at")}, 'last_turn_at', {_stamp("s.last_turn_at")},
  'ended_at', {_stamp("s.ended_at")}, 'end_reason', s.end_reason
"""
_ONE: Final = f"""
SELECT json_build_object({_HEAD}, 'turns', (SELECT coalesce(json_agg(latest.document ORDER BY latest.seq), '[]') FROM
    (SELECT t.seq, {_TURN} AS document FROM session_turns t WHERE t.session_id = s.id
     ORDER BY t.seq DESC LIMIT {MOST_TURNS}) AS latest))::text
FROM sessions s WHERE s.id = $2 AND ($3::text IS NULL OR s.user_id = $3)
"""  # noqa: S608 - constants of ours
_LIST: Final = f"""
SELECT json_build_object({_HEAD})::text AS document, s.created_at, s.id FROM sessions s
WHERE ($2::text IS NULL OR s.user_id = $2) AND ($3::text IS NULL OR s.status = $3)
  AND ($4::timestamptz IS NULL OR (s.created_at, s.id) < ($4, $5))
ORDER BY s.created_at DESC, s.id DESC LIMIT $6
"""  # noqa: S608 - constants of ours
_ONE_TURN: Final = f"""
SELECT {_TURN}::text AS document, t.status IN ('queued', 'running') AS open
FROM session_turns t JOIN sessions s ON s.id = t.session_id
WHERE t.session_id = $1 AND t.seq = $2 AND ($3::text IS NULL OR s.user_id = $3)
"""  # noqa: S608 - constants of ours
_EVENTS: Final = f"""
SELECT seq, type, data::text AS data, {_stamp("created_at")} AS at FROM session_events
WHERE session_id = $1 AND seq > $2 ORDER BY seq LIMIT {_EVENTS_AT_ONCE}
"""  # noqa: S608 - constants of ours
_STATUS: Final = "SELECT status FROM sessions WHERE id = $1 AND ($2::text IS NULL OR user_id = $2)"


@dataclass(frozen=True, slots=True)
class TurnReading:
    """A turn as JSON, and whether its answer is still to come."""

    document: bytes
    open: bool


async def read_session(connection: asyncpg.Connection, session_id: UUID, user_id: str | None, ui_base: str) -> bytes:
    """The session with its latest turns as JSON.

    Args:
        user_id: whose it must be; None: anybody's of the tenant.

    Raises:
        SomaError: ``not_found``.
    """
    document = await connection.fetchval(_ONE, ui_base, session_id, user_id)
    if document is None:
        raise no_such_session()
    return bytes(document.encode())


async def list_sessions(
    connection: asyncpg.Connection,
    ui_base: str,
    *,
    user_id: str | None,
    status: str | None,
    before: tuple[object, object] | None,
    limit: int,
) -> Sequence[asyncpg.Record]:
    """Sessions without their turns, newest first: rows of ``document``, ``created_at`` and ``id``."""
    created_at, identity = before or (None, None)
    rows: list[asyncpg.Record] = await connection.fetch(_LIST, ui_base, user_id, status, created_at, identity, limit)
    return rows


async def read_turn(connection: asyncpg.Connection, session_id: UUID, seq: int, user_id: str | None) -> TurnReading:
    """One turn.

    Raises:
        SomaError: ``not_found``.
    """
    row = await connection.fetchrow(_ONE_TURN, session_id, seq, user_id)
    if row is None:
        raise SomaError(Code.NOT_FOUND, "There is no such turn.")
    return TurnReading(row["document"].encode(), row["open"])


async def session_status(connection: asyncpg.Connection, session_id: UUID, user_id: str | None) -> str:
    """Where the session stands.

    Raises:
        SomaError: ``not_found``.
    """
    status: str | None = await connection.fetchval(_STATUS, session_id, user_id)
    if status is None:
        raise no_such_session()
    return status


@dataclass(frozen=True, slots=True)
class SessionAbout:
    """What the gate needs to know of a session."""

    capsule_id: str | None
    region: str | None


async def about_session(connection: asyncpg.Connection, session_id: UUID, user_id: str) -> SessionAbout:
    """What a turn of the user's own session is judged by.

    Raises:
        SomaError: ``not_found``.
    """
    row = await connection.fetchrow(
        "SELECT capsule_id, meta->>'region' AS region FROM sessions WHERE id = $1 AND user_id = $2", session_id, user_id
    )
    if row is None:
        raise no_such_session()
    return SessionAbout(row["capsule_id"], row["region"])


async def read_events(connection: asyncpg.Connection, session_id: UUID, after: int) -> Sequence[asyncpg.Record]:
    """The session's events after number ``after``, in order."""
    rows: list[asyncpg.Record] = await connection.fetch(_EVENTS, session_id, after)
    return rows


def no_such_session() -> SomaError:
    """The refusal that somebody else's session gets, too."""
    return SomaError(Code.NOT_FOUND, "There is no such session.")

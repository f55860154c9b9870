"""Sessions and turns as rows: each change writes its event and wakes nobody; the caller does, after the commit.

Whoever changes a session locks its row first, then its turns, then requests to models, then budgets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.session import LONGEST_LINE, TurnStatus, session_busy, session_ended
from somagent.domain.model import JsonObject

_CREATE: Final = """
WITH session AS (
  INSERT INTO sessions (id, tenant_id, user_id, capsule_id, meta, workflow_id, moderation, policy, event_seq)
  VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7::text::jsonb, $8::text::jsonb, 1) RETURNING id, tenant_id
)
INSERT INTO session_events (session_id, seq, tenant_id, type, data)
SELECT id, 1, tenant_id, 'session.started', jsonb_strip_nulls(jsonb_build_object('capsule_id', $4::text)) FROM session
"""
_LOCK: Final = "SELECT tenant_id, user_id, status, capsule_id, workflow_id FROM sessions WHERE id = $1 FOR UPDATE"
_WAITING: Final = "SELECT count(*) FROM session_turns WHERE session_id = $1 AND status IN ('queued', 'running')"
_ADD: Final = """
WITH session AS (
  UPDATE sessions SET turns = turns + 1, event_seq = event_seq + 1, last_turn_at = clock_timestamp()
  WHERE id = $1 RETURNING id, tenant_id, turns, event_seq
), turn AS (
  INSERT INTO session_turns (session_id, seq, tenant_id, user_id, prompt, status, job_id, policy)
  SELECT id, turns, tenant_id, $2, $3, 'queued', $4, $5::text::jsonb FROM session
), event AS (
  INSERT INTO session_events (session_id, seq, tenant_id, type, data)
  SELECT id, event_seq, tenant_id, 'turn.started',
    jsonb_strip_nulls(jsonb_build_object('seq', turns, 'job_id', $4::uuid, 'attachments', $6::text::jsonb)) FROM session
)
SELECT turns FROM session
"""
_ASKED: Final = """
UPDATE session_turns SET status = 'running', request_id = $3, recalled = $4::text::jsonb
WHERE session_id = $1 AND seq = $2 AND status = 'queued'
"""
_SETTLE: Final = """
WITH turn AS (
  UPDATE session_turns SET status = $3, answer = $4, model = $5, usage = $6::text::jsonb, error = $7::text::jsonb,
    finished_at = clock_timestamp()
  WHERE session_id = $1 AND seq = $2 AND status IN ('queued', 'running') RETURNING session_id, seq, tenant_id, job_id
), session AS (
  UPDATE sessions SET event_seq = event_seq + 1, last_turn_at = clock_timestamp()
  WHERE id = (SELECT session_id FROM turn) RETURNING event_seq
)
INSERT INTO session_events (session_id, seq, tenant_id, type, data)
SELECT turn.session_id, event_seq, tenant_id, 'turn.' || $3,
  jsonb_strip_nulls(jsonb_build_object('seq', turn.seq, 'answer', $4::text, 'model', $5::text,
    'usage', $6::text::jsonb, 'error', $7::text::jsonb, 'job_id', job_id))
FROM turn, session RETURNING seq
"""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session that was let in."""

    session_id: UUID
    tenant_id: str
    user_id: str
    capsule_id: str | None
    metadata: JsonObject
    moderation: JsonObject
    policy: JsonObject

    @property
    def workflow_id(self) -> str:
        """Of the workflow that holds it."""
        return f"session-{self.session_id}"


@dataclass(frozen=True, slots=True)
class NewTurn:
    """A prompt that was let in."""

    user_id: str
    prompt: str
    policy: JsonObject
    job_id: UUID | None = None
    attachments: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of a turn."""

    status: TurnStatus
    answer: str | None = None
    model: str | None = None
    usage: JsonObject | None = None
    error: JsonObject | None = None


def failure_of(error: SomaError) -> Settlement:
    """A turn that failed."""
    return Settlement(TurnStatus.FAILED, error=problem_of(error))


def problem_of(error: SomaError) -> JsonObject:
    """An error as a turn keeps it."""
    return {"code": error.code.value, "detail": error.detail}


async def create(connection: asyncpg.Connection, new: NewSession) -> None:
    """Write the session and its first event."""
    await connection.execute(
        _CREATE, new.session_id, new.tenant_id, new.user_id, new.capsule_id, _json(new.metadata), new.workflow_id,
        _json(new.moderation), _json(new.policy),
    )  # fmt: skip


async def lock(connection: asyncpg.Connection, session_id: UUID) -> asyncpg.Record:
    """The session's row, held until the transaction ends.

    Raises:
        SomaError: ``not_found``.
    """
    row = await connection.fetchrow(_LOCK, session_id)
    if row is None:
        raise SomaError(Code.NOT_FOUND, "There is no such session.")
    return row


async def add_turn(connection: asyncpg.Connection, session_id: UUID, new: NewTurn) -> int:
    """Write a turn, and give its number. The caller has locked the session.

    Raises:
        SomaError: ``session_busy``.
    """
    if await connection.fetchval(_WAITING, session_id) >= LONGEST_LINE:
        raise session_busy()
    attachments = _json([str(one) for one in new.attachments]) if new.attachments else None
    seq: int = await connection.fetchval(
        _ADD, session_id, new.user_id, new.prompt, new.job_id, _json(new.policy), attachments
    )
    return seq


def require_active(session: asyncpg.Record) -> None:
    """Insist that the session takes turns.

    Raises:
        SomaError: ``session_ended``.
    """
    if session["status"] != "active":
        raise session_ended(session["status"])


async def turn_asked(
    connection: asyncpg.Connection, session_id: UUID, seq: int, request_id: str, recalled: list[JsonObject]
) -> None:
    """A model was asked for the turn's answer, with these memories."""
    await connection.execute(_ASKED, session_id, seq, request_id, _json(recalled))


async def settle_turn(connection: asyncpg.Connection, session_id: UUID, seq: int, settlement: Settlement) -> bool:
    """Write what came of a turn, once; False where that was written before."""
    settled = await connection.fetchval(
        _SETTLE, session_id, seq, settlement.status.value, settlement.answer, settlement.model,
        None if settlement.usage is None else _json(settlement.usage),
        None if settlement.error is None else _json(settlement.error),
    )  # fmt: skip
    return settled is not None


def _json(value: object) -> str:
    return orjson.dumps(value).decode()

"""Ending sessions: by their user, by idleness, or by the kill switch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg

from somagent.domain.errors import Code
from somagent.domain.messages.session import SessionStatus
from somagent.services.audit.intake import Happening, take_in
from somagent.services.slm.requests import withdraw_request

_END: Final = """
WITH ended AS (
  UPDATE sessions s SET status = $1, end_reason = $2, ended_at = clock_timestamp(), event_seq = event_seq + 1
  WHERE s.status = 'active' AND ($3::uuid[] IS NULL OR s.id = ANY($3)) AND ($4::text IS NULL OR s.tenant_id = $4)
    AND ($5::text IS NULL OR s.capsule_id = $5)
  RETURNING s.id, s.tenant_id, s.workflow_id, s.event_seq
), event AS (
  INSERT INTO session_events (session_id, seq, tenant_id, type, data)
  SELECT id, event_seq, tenant_id, 'session.ended', jsonb_build_object('status', $1::text, 'reason', $2::text)
  FROM ended
)
SELECT id, tenant_id, workflow_id FROM ended
"""
_CANCEL_TURNS: Final = """
UPDATE session_turns SET status = 'cancelled', finished_at = clock_timestamp(),
  error = jsonb_build_object('code', $2::text, 'detail', $3::text)
WHERE session_id = ANY($1::uuid[]) AND status IN ('queued', 'running') RETURNING request_id
"""


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that was active until now. Its workflow ends when it is told or cancelled."""

    session_id: UUID
    tenant_id: str
    workflow_id: str


async def end_sessions(
    connection: asyncpg.Connection,
    *,
    status: SessionStatus,
    reason: str,
    actor: str,
    session_ids: Sequence[UUID] | None = None,
    tenant_id: str | None = None,
    capsule_id: str | None = None,
) -> list[EndedSession]:
    """End the active sessions that fit every condition given, in the caller's transaction.

    Their open turns are cancelled and what those reserved is given back; an answer that still comes finds nobody.
    Call it before anything else in the transaction that takes or gives back budget, as rows are locked in that order.

    Args:
        connection: as ``soma_app`` it sees one tenant, as ``soma_system`` all.
        actor: who ended them, for the audit.
    """
    rows = await connection.fetch(_END, status.value, reason, session_ids, tenant_id, capsule_id)
    ended = [EndedSession(row["id"], row["tenant_id"], row["workflow_id"]) for row in rows]
    turns = await connection.fetch(
        _CANCEL_TURNS, [one.session_id for one in ended], Code.CANCELLED.value, f"The session was {status}: {reason}."
    )
    for turn in turns:
        if turn["request_id"] is not None:
            await withdraw_request(connection, turn["request_id"])
    for one in ended:
        await take_in(connection, _happening(one, status, reason, actor))
    return ended


def _happening(ended: EndedSession, status: SessionStatus, reason: str, actor: str) -> Happening:
    return Happening(
        tenant_id=ended.tenant_id,
        actor=actor,
        action="session.ended",
        object=f"session:{ended.session_id}",
        topic="gateway.audit",
        detail={"status": status.value, "reason": reason},
    )

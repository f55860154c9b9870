"""Answering turns: what is recalled and asked, and what is written when the answer comes.

The request's id is ``{session}:{turn}``, the same over attempts; its answer and the turn are written in one
transaction, so a turn whose worker died is asked once and answered once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from somagent.adapters.postgres.database import Database, TenantConnection
from somagent.adapters.queue.port import Queue
from somagent.domain.actions.remote import RetrieveParams, RetrieveSource, SlmRole
from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.conversation import EARLIER_TURNS, Exchange, conversation
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.session import TurnLook, TurnRef, TurnStanding, TurnStatus
from somagent.domain.model import JsonObject
from somagent.domain.slm.messages import REQUESTS, SlmMetadata, SlmParameters, SlmRequest, SlmResponse
from somagent.services.audit.intake import Happening, take_in
from somagent.services.gate.gate import Gate
from somagent.services.memory import MemoryService
from somagent.services.sessions.attached import attached_texts
from somagent.services.sessions.capsule import capsule_of
from somagent.services.sessions.rows import Settlement, failure_of, lock, settle_turn, turn_asked
from somagent.services.slm.requests import close_request, open_request, withdraw_request
from somagent.services.wakeups import Wakeups

RECALLED: Final = 5
"""Remembered items that a turn is answered with at most, of each namespace."""

_TURN: Final = """
SELECT t.prompt, t.status, t.user_id, s.capsule_id FROM session_turns t JOIN sessions s ON s.id = t.session_id
WHERE t.session_id = $1 AND t.seq = $2
"""
_EARLIER: Final = """
SELECT prompt, answer FROM session_turns WHERE session_id = $1 AND seq < $2 AND status = 'completed'
ORDER BY seq DESC LIMIT $3
"""
_STATUS: Final = "SELECT status FROM session_turns WHERE session_id = $1 AND seq = $2"
_STANDING: Final = """
SELECT t.status, array(SELECT later.seq FROM session_turns later WHERE later.session_id = t.session_id
  AND later.seq > t.seq AND later.status IN ('queued', 'running') ORDER BY later.seq) AS following
FROM session_turns t WHERE t.session_id = $1 AND t.seq = $2
"""
_REQUEST: Final = """
SELECT request::text FROM slm_requests WHERE request_id = $1 AND status IN ('queued', 'running')
"""


class TurnAnswers:
    """Asks models for turns, and settles the turns from their answers."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        memory: MemoryService,
        wakeups: Wakeups,
        gate: Gate,
        attachments: Path,
    ) -> None:
        """``attachments``: where they lie, by tenant and id."""
        self._attachments = attachments
        self._database = database
        self._queue = queue
        self._memory = memory
        self._wakeups = wakeups
        self._gate = gate

    async def ask(self, turn: TurnRef) -> TurnStanding:
        """Queue the turn's request; what can never be asked fails the turn.

        Raises:
            SomaError: a part is away; nothing is lost by asking again.
        """
        async with self._database.connection(turn.tenant_id) as connection:
            row = await connection.fetchrow(_TURN, UUID(turn.session_id), turn.seq)
            if row is None:
                return TurnStanding(seq=turn.seq, status=TurnStatus.CANCELLED)
            if row["status"] == TurnStatus.RUNNING:
                return await self._publish_again(connection, turn)
            if row["status"] != TurnStatus.QUEUED:
                return await _standing(connection, turn)
            try:
                request, sources = await self._request(connection, turn, row)
                status = await self._record(connection, turn, request, sources)
            except SomaError as error:
                if error.retryable and error.code is not Code.KILL_SWITCH_ACTIVE:
                    raise
                return await self._fail(connection, turn, error)
            standing = await _standing(connection, turn)
        if status is TurnStatus.RUNNING:
            await self._queue.publish(REQUESTS, request.ordering_key, request.to_bytes())
        return standing

    async def look(self, look: TurnLook) -> TurnStanding:
        """How the turn stands; one that is given up fails, unless its answer has come."""
        turn = look.turn
        async with self._database.connection(turn.tenant_id) as connection:
            if look.give_up:
                late = "No model answered in time, and the question was withdrawn. Ask again."
                await self._fail(connection, turn, SomaError(Code.SLM_TIMED_OUT, late))
            return await _standing(connection, turn)

    async def settle(self, turn: TurnRef, response: SlmResponse) -> None:
        """Store an answer and what came of the turn, in one transaction; a repeat changes nothing."""
        session_id = UUID(turn.session_id)
        async with self._database.connection(turn.tenant_id) as connection, connection.transaction():
            await lock(connection, session_id)
            if await close_request(connection, turn.request_id, response):
                await settle_turn(connection, session_id, turn.seq, settlement_of(response))
                await take_in(connection, _answered(turn, response))
        self._wakeups.session_changed(turn.session_id)

    async def _request(
        self, connection: TenantConnection, turn: TurnRef, row: asyncpg.Record
    ) -> tuple[SlmRequest, list[RetrieveSource]]:
        await self._gate.watch.ensure_fresh()
        self._gate.kills.require_off(turn.tenant_id, row["capsule_id"], turn.session_id)
        definition = await capsule_of(connection, row["capsule_id"])
        sources = await self._recalled(connection, turn.tenant_id, row["prompt"], definition)
        place = (UUID(turn.session_id), turn.seq)
        attached = await attached_texts(connection, self._attachments, turn.tenant_id, place)
        earlier = await connection.fetch(_EARLIER, UUID(turn.session_id), turn.seq, EARLIER_TURNS)
        messages = conversation(
            row["prompt"],
            persona=definition.persona if definition else None,
            known=[*attached, *(source.text for source in sources)],
            earlier=[Exchange(one["prompt"], one["answer"] or "") for one in reversed(earlier)],
        )
        metadata = {"capsule_id": row["capsule_id"], "user_id": row["user_id"], "turn": turn.seq}
        request = SlmRequest(
            request_id=turn.request_id,
            tenant=turn.tenant_id,
            session_id=turn.session_id,
            role=SlmRole.DIALOGUE_REASONING,
            messages=messages,
            parameters=SlmParameters(),
            metadata=SlmMetadata.model_validate(metadata),
            timestamp=datetime.now(UTC).isoformat(),
        )
        return request, sources

    async def _recalled(
        self, connection: TenantConnection, tenant_id: str, prompt: str, definition: CapsuleDefinition | None
    ) -> list[RetrieveSource]:
        """What fits the prompt: of the capsule's own namespaces where it has any, else of the tenant's memory."""
        namespaces = [one.namespace for one in definition.knowledge] if definition else []
        sources: dict[str, RetrieveSource] = {}
        for namespace in dict.fromkeys(namespaces) or (None,):
            params = RetrieveParams(query=prompt[:20_000], limit=RECALLED, namespace=namespace)
            found = await self._memory.retrieve(connection, tenant_id, params)
            sources.update((source.memory_id, source) for source in found.sources)
        return list(sources.values())

    async def _record(
        self, connection: TenantConnection, turn: TurnRef, request: SlmRequest, sources: list[RetrieveSource]
    ) -> TurnStatus:
        session_id = UUID(turn.session_id)
        async with connection.transaction():
            await lock(connection, session_id)
            status = TurnStatus(await connection.fetchval(_STATUS, session_id, turn.seq))
            if status is not TurnStatus.QUEUED:  # the session has ended meanwhile
                return status
            await open_request(connection, request)
            await turn_asked(connection, session_id, turn.seq, request.request_id, [_shown(one) for one in sources])
        self._wakeups.session_changed(turn.session_id)
        return TurnStatus.RUNNING

    async def _publish_again(self, connection: TenantConnection, turn: TurnRef) -> TurnStanding:
        """The worker before may have died between its commit and the queue; a request there twice is answered once."""
        text = await connection.fetchval(_REQUEST, turn.request_id)
        if text is not None:
            request = SlmRequest.model_validate(orjson.loads(text))
            await self._queue.publish(REQUESTS, request.ordering_key, request.to_bytes())
        return await _standing(connection, turn)

    async def _fail(self, connection: TenantConnection, turn: TurnRef, error: SomaError) -> TurnStanding:
        session_id = UUID(turn.session_id)
        async with connection.transaction():
            await lock(connection, session_id)
            await withdraw_request(connection, turn.request_id)
            await settle_turn(connection, session_id, turn.seq, failure_of(error))
        self._wakeups.session_changed(turn.session_id)
        return await _standing(connection, turn)


def turn_of(request: SlmRequest) -> TurnRef | None:
    """The turn that waits for a request's answer; None where no session asked."""
    seq = (request.metadata.model_extra or {}).get("turn")
    if request.session_id is None or not isinstance(seq, int):
        return None
    return TurnRef(session_id=request.session_id, tenant_id=request.tenant, seq=seq)


def _answered(turn: TurnRef, response: SlmResponse) -> Happening:
    """What the audit keeps of an answer: which model gave it, never its words."""
    return Happening(
        tenant_id=turn.tenant_id,
        actor="somagent",
        action="session.answered",
        object=f"session:{turn.session_id}",
        outcome="failed" if response.error else "done",
        topic="gateway.audit",
        detail={
            "seq": turn.seq,
            "request_id": turn.request_id,
            "model": response.metrics.model,
            "tokens": response.metrics.total_tokens,
            "error": response.error.code if response.error else None,
        },
    )


def settlement_of(response: SlmResponse) -> Settlement:
    """What comes of a turn by a model's answer."""
    if response.error is not None:
        return Settlement(TurnStatus.FAILED, error={"code": response.error.code, "detail": response.error.detail})
    completion = response.result.completion if response.result else None
    metrics = response.metrics
    return Settlement(
        TurnStatus.COMPLETED,
        answer=completion if isinstance(completion, str) else orjson.dumps(completion).decode(),
        model=metrics.model,
        usage={
            "prompt_tokens": metrics.prompt_tokens,
            "completion_tokens": metrics.completion_tokens,
            "total_tokens": metrics.total_tokens,
            "estimated": metrics.estimated,
        },
    )


async def _standing(connection: asyncpg.Connection, turn: TurnRef) -> TurnStanding:
    row = await connection.fetchrow(_STANDING, UUID(turn.session_id), turn.seq)
    if row is None:
        return TurnStanding(seq=turn.seq, status=TurnStatus.CANCELLED)
    return TurnStanding(seq=turn.seq, status=row["status"], following=tuple(row["following"]))


def _shown(source: RetrieveSource) -> JsonObject:
    return {
        "memory_id": source.memory_id,
        "key": source.key,
        "namespace": source.provenance.namespace,
        "source": source.provenance.source,
        "score": source.score,
    }

"""Taking sessions and turns that were let in: rows, audit and the order to Temporal, in the caller's transaction."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

from somagent.adapters.postgres.database import TenantConnection
from somagent.domain.caller import Caller
from somagent.domain.messages.orders import SignalOrder, WorkflowOrder
from somagent.domain.messages.session import (
    END_SESSION,
    SESSION_WORKFLOW,
    TURN_WAITS,
    SessionEnd,
    SessionState,
    SessionStatus,
    TurnOrder,
)
from somagent.domain.model import JsonObject
from somagent.services.audit.intake import by, take_in
from somagent.services.jobs.requests import JobRequest
from somagent.services.jobs.submission import submit
from somagent.services.kill_switch.admission import require_admitted
from somagent.services.sessions.attached import require_readable
from somagent.services.sessions.ending import end_sessions
from somagent.services.sessions.reading import no_such_session
from somagent.services.sessions.rows import NewSession, NewTurn, add_turn, create, lock, require_active
from somagent.services.starter import Recorded, argument_of, record


@dataclass(frozen=True, slots=True)
class TakenTurn:
    """A turn that is recorded.

    Attributes:
        recorded: what Temporal is still to be told: of the turn, then of its job.
    """

    session_id: UUID
    seq: int
    job_id: UUID | None
    recorded: tuple[Recorded, ...]


async def take_session(
    connection: TenantConnection, caller: Caller, new: NewSession, prompt: str, request_id: str
) -> Recorded:
    """Write a session with its first turn; its workflow answers it as soon as Temporal is there.

    Raises:
        SomaError: ``kill_switch_active``.
    """
    await require_admitted(connection, caller.tenant_id, new.capsule_id, new.session_id)
    await create(connection, new)
    first = NewTurn(user_id=new.user_id, prompt=prompt, policy=new.policy)
    seq = await add_turn(connection, new.session_id, first)
    await take_in(
        connection,
        by(
            caller, "session.started", f"session:{new.session_id}", topic="gateway.audit", request_id=request_id,
            detail={"capsule_id": new.capsule_id, **_said(prompt, new.policy)},
        ),
    )  # fmt: skip
    state = SessionState(session_id=str(new.session_id), tenant_id=new.tenant_id, waiting=[seq])
    return await record(connection, order_of(state, new.user_id, new.capsule_id))


async def take_turn(
    connection: TenantConnection,
    caller: Caller,
    session_id: UUID,
    new: NewTurn,
    job: JobRequest | None,
    request_id: str,
) -> TakenTurn:
    """Write a turn of the caller's own session, and the job that it starts.

    Raises:
        SomaError: ``not_found``, ``session_ended``, ``session_busy``, ``kill_switch_active``, ``input_invalid``; as
            :func:`submit` for the job.
    """
    await require_admitted(connection, caller.tenant_id, None, session_id)
    session = await lock(connection, session_id)
    if session["user_id"] != caller.user_id:
        raise no_such_session()
    require_active(session)
    await require_readable(connection, new.attachments, by_job=job is not None)
    orders: tuple[Recorded, ...] = ()
    job_id: UUID | None = None
    if job is not None:
        taken = await submit(connection, caller.tenant_id, caller.user_id, job)
        job_id = UUID(taken.job_id)
        orders = (taken.recorded,) if taken.recorded else ()
    turn = NewTurn(new.user_id, new.prompt, new.policy, job_id, new.attachments)
    seq = await add_turn(connection, session_id, turn)
    await take_in(
        connection,
        by(
            caller, "session.turn", f"session:{session_id}", topic="gateway.audit", request_id=request_id,
            detail={"seq": seq, "job_id": str(job_id) if job_id else None, **_said(new.prompt, new.policy)},
        ),
    )  # fmt: skip
    order = SignalOrder(
        tenant_id=caller.tenant_id,
        workflow_id=session["workflow_id"],
        signal=TURN_WAITS,
        argument=TurnOrder(seq=seq).model_dump(mode="json"),
    )
    return TakenTurn(session_id, seq, job_id, (await record(connection, order), *orders))


async def take_end(connection: TenantConnection, caller: Caller, session_id: UUID) -> Recorded | None:
    """End the caller's own session; None where it had ended already.

    Raises:
        SomaError: ``not_found``.
    """
    session = await lock(connection, session_id)
    if session["user_id"] != caller.user_id:
        raise no_such_session()
    ended = await end_sessions(
        connection,
        status=SessionStatus.ENDED,
        reason="ended by its user",
        actor=caller.user_id,
        session_ids=[session_id],
    )
    if not ended:
        return None
    order = SignalOrder(
        tenant_id=caller.tenant_id,
        workflow_id=session["workflow_id"],
        signal=END_SESSION,
        argument=SessionEnd(status=SessionStatus.ENDED).model_dump(mode="json"),
    )
    return await record(connection, order)


def order_of(state: SessionState, user_id: str, capsule_id: str | None) -> WorkflowOrder:
    """The order that starts a session's workflow, with what an operator sees of it in the Temporal UI."""
    return WorkflowOrder(
        tenant_id=state.tenant_id,
        workflow=SESSION_WORKFLOW,
        workflow_id=f"session-{state.session_id}",
        argument=argument_of(state),
        summary=f"session of {user_id} in {state.tenant_id}"[:190],
        details=f"Capsule: {capsule_id or 'none'}\n\nTurns and answers lie in Postgres; here are their numbers.",
        status=SessionStatus.ACTIVE.value,
        capsule=capsule_id,
        session=state.session_id,
        priority=2,
    )


def _said(prompt: str, policy: JsonObject) -> JsonObject:
    """What the audit keeps of a prompt: its digest, and the decision that let it in."""
    return {"prompt_sha256": hashlib.sha256(prompt.encode()).hexdigest(), "decision_id": policy.get("decision_id")}

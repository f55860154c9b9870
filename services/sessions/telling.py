"""Telling a session's workflow of a recorded turn: by update, and by the outbox where that does not get through."""

from __future__ import annotations

import hashlib

import structlog
from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from somagent.adapters.temporal.client import RPC_TIMEOUT
from somagent.domain.messages.session import TAKE_TURN, TurnOrder, TurnPlace
from somagent.services.sessions.taking import TakenTurn
from somagent.services.starter import Starter

log = structlog.get_logger(__name__)


async def tell_turn(client: Client, starter: Starter, taken: TakenTurn) -> None:
    """Put a turn in line. It is recorded, so that nothing is lost where Temporal does not answer."""
    turn, *others = taken.recorded
    for order in others:
        starter.submit(order)
    handle = client.get_workflow_handle(turn.order.workflow_id)
    try:
        await handle.execute_update(
            TAKE_TURN,
            TurnOrder(seq=taken.seq),
            id=update_id(str(taken.session_id), taken.seq),
            result_type=TurnPlace,
            rpc_timeout=RPC_TIMEOUT,
        )
    except (
        WorkflowUpdateFailedError,
        WorkflowUpdateRPCTimeoutOrCancelledError,
        RPCError,
        OSError,
        RuntimeError,
    ) as error:  # away, or not started yet: the order in the outbox is told after the one that starts it
        log.info("turn_left_to_outbox", session_id=str(taken.session_id), seq=taken.seq, error=repr(error))
        starter.submit(turn)
    else:
        starter.told(turn)


def update_id(session_id: str, seq: int) -> str:
    """The same turn told twice is one update; its number stands for user and Idempotency-Key, which made the row."""
    return hashlib.sha256(f"{session_id}\0{seq}".encode()).hexdigest()

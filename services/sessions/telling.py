"""Telling a session's workflow of a recorded turn: by update, and by the outbox where that does not get through."""

from __future__ import annotations

import asyncio
import hashlib

import structlog
from temporalio.client import Client

from somagent.adapters.temporal.client import RPC_TIMEOUT
from somagent.domain.messages.session import TAKE_TURN, TurnOrder, TurnPlace
from somagent.services.sessions.taking import TakenTurn
from somagent.services.starter import Starter

log = structlog.get_logger(__name__)


class TurnTeller:
    """Tells in the background: whoever waits for the answer looks at Postgres, and need not wait for Temporal."""

    def __init__(self, client: Client, starter: Starter) -> None:
        self._client = client
        self._starter = starter
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, taken: TakenTurn) -> None:
        """Take a turn whose transaction has committed. Nothing is lost where Temporal does not answer."""
        task = asyncio.create_task(self._tell(taken))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop; what was not told stays in the outbox."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell(self, taken: TakenTurn) -> None:
        turn, *others = taken.recorded
        for order in others:
            self._starter.submit(order)
        try:
            await self._client.get_workflow_handle(turn.order.workflow_id).execute_update(
                TAKE_TURN,
                TurnOrder(seq=taken.seq),
                id=update_id(str(taken.session_id), taken.seq),
                result_type=TurnPlace,
                rpc_timeout=RPC_TIMEOUT,
            )
        except Exception as error:  # away, or not started yet: the order in the outbox is told after the one before it
            log.info("turn_left_to_outbox", session_id=str(taken.session_id), seq=taken.seq, error=repr(error))
            self._starter.submit(turn)
        else:
            self._starter.told(turn)


def update_id(session_id: str, seq: int) -> str:
    """The same turn told twice is one update; its number stands for user and Idempotency-Key, which made the row."""
    return hashlib.sha256(f"{session_id}\0{seq}".encode()).hexdigest()

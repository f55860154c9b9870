"""Waiting for a turn's answer: the row is looked at, woken by Redis."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final
from uuid import UUID

from starlette.responses import Response

from somagent.api.deps import json_response
from somagent.api.state import State
from somagent.domain.caller import Caller
from somagent.services.sessions.reading import read_turn
from somagent.services.wakeups import heard, session_channel

TURN_SECONDS: Final = 60.0
"""How long a turn is waited for at most."""
_LOOK_SECONDS: Final = 0.25


async def answered_turn(
    state: State, caller: Caller, session_id: UUID, seq: int, seconds: float, taken: Response
) -> Response:
    """200 with the turn once it is settled; 202 with it as it stands after ``seconds``.

    Args:
        taken: the answer that recorded the turn; its Location and whether it was replayed go out with this one.
    """
    deadline = time.monotonic() + seconds
    async with heard(state.redis, session_channel(session_id)) as changed:
        while True:
            changed.clear()
            async with state.app_db.connection(caller.tenant_id) as connection:
                turn = await read_turn(connection, session_id, seq, caller.user_id)
            left = deadline - time.monotonic()
            if not turn.open or left <= 0:
                break
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(_LOOK_SECONDS, left))
    response = json_response(turn.document, 202 if turn.open else 200)
    for name in ("Location", "Idempotent-Replayed"):
        if name in taken.headers:
            response.headers[name] = taken.headers[name]
    return response

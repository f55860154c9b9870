"""What follows a committed request: Temporal is told once; the relay does it where that fails."""

from __future__ import annotations

from somagent.api.state import State
from somagent.services.idempotency import AfterCommit
from somagent.services.starter import Recorded


def telling(state: State, *recorded: Recorded) -> AfterCommit:
    """Hand recorded orders to the starter."""

    async def tell() -> None:
        for order in recorded:
            state.starter.submit(order)

    return tell

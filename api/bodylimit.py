"""How large a body may be, whether it announces its length or comes in chunks."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Message, Receive, Scope

from somagent.domain.errors import Code, SomaError

MIB: Final = 1024 * 1024
BODY_LIMIT: Final = MIB
_DRAINED: Final = 16 * MIB
_DRAIN_SECONDS: Final = 5.0


async def limited_receive(scope: Scope, receive: Receive, limit: int) -> Receive:
    """``receive``, which ends with a refusal once more than ``limit`` bytes came.

    An announced length is judged at once and the server itself holds the client to it, so only chunked bodies pay
    for counting.

    Raises:
        SomaError: ``body_too_large``, ``validation_failed`` for a length that is no number.
    """
    announced: bytes | None = None
    chunked = expects = False
    for name, value in scope["headers"]:
        if name == b"content-length":
            announced = value
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"expect":
            expects = True
    if announced is not None and not chunked:
        if not announced.isdigit() or len(announced) > 15 or int(announced) > limit:
            if not expects:
                await _drain(receive)
            raise too_large(limit)
        return receive
    return _Counting(receive, limit) if chunked else receive


class _Counting:
    __slots__ = ("_left", "_limit", "_receive")

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._left = limit

    async def __call__(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            if message.get("more_body"):
                await _drain(self._receive)
            raise too_large(self._limit)
        return message


def too_large(limit: int) -> SomaError:
    """The refusal that says how much is allowed."""
    return SomaError(Code.BODY_TOO_LARGE, f"The body is larger than the {limit // MIB} MiB that are allowed here.")


async def _drain(receive: Receive) -> None:
    """Read on for a while: a client that is still sending would lose an answer that closes the connection."""
    left = _DRAINED
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return

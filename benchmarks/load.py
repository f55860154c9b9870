"""A load generator that costs little itself: keep-alive HTTP/1.1 over asyncio streams, bounded in count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Answer:
    """One response."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Load:
    """What a burst of requests took. ``rate`` is requests per second."""

    answers: tuple[Answer, ...]
    seconds: float

    @property
    def rate(self) -> float:
        return len(self.answers) / self.seconds


async def burst(
    base_url: str,
    requests: Sequence[tuple[str, str, bytes | None]],
    *,
    token: str | None = None,
    connections: int = 16,
) -> Load:
    """Send every (method, path, body) over a fixed number of connections, each the next when it has its answer."""
    host, port = _address(base_url)
    waiting = list(enumerate(requests))[::-1]
    answers: list[Answer | None] = [None] * len(requests)

    async def work() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            while waiting:
                position, (method, path, body) = waiting.pop()
                writer.write(_request(host, method, path, body, token))
                answers[position] = await _response(reader)
        finally:
            writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(min(connections, len(requests)))))
    seconds = time.perf_counter() - start
    return Load(tuple(answer for answer in answers if answer is not None), seconds)


def _address(base_url: str) -> tuple[str, int]:
    parts = urlsplit(base_url)
    return parts.hostname or "127.0.0.1", parts.port or 80


def _request(host: str, method: str, path: str, body: bytes | None, token: str | None) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + (body or b"")


async def _response(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":", 1)[1])
    return Answer(status, await reader.readexactly(length) if length else b"")

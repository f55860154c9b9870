"""A worker's own port: alive or not, and its metrics with those of the Temporal SDK."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import structlog
import uvicorn
from prometheus_client import REGISTRY, generate_latest
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from somagent.domain.errors import Code, SomaError
from somagent.workers.parts import Parts

log = structlog.get_logger(__name__)

TTL_SECONDS = 30


@asynccontextmanager
async def serve_health(parts: Parts, role: str, port: int) -> AsyncIterator[None]:
    """Serve ``/health`` and ``/metrics`` on ``port`` while the worker works; port 0 serves none.

    Raises:
        SomaError: ``port_taken``.
    """
    if port == 0:
        yield
        return
    listening = _listen(parts.settings.host, port)
    server = uvicorn.Server(uvicorn.Config(_app(parts, role), log_level="warning", access_log=False))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # ours end the worker
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    announcing = asyncio.create_task(_announce(parts, role, f"http://{_own_name(parts.settings.host)}:{port}/metrics"))
    try:
        yield
    finally:
        announcing.cancel()
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await asyncio.wait({serving}, timeout=3)


def _listen(host: str, port: int) -> socket.socket:
    """The socket to serve on, bound before anything works, so that a taken port ends the process with a word."""
    try:
        return socket.create_server((host, port), reuse_port=False)
    except OSError as error:
        raise SomaError(
            Code.PORT_TAKEN, f"The worker cannot listen on {host}:{port} ({error.strerror}). Choose another --port."
        ) from error


def _app(parts: Parts, role: str) -> Starlette:
    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "role": role, "pid": os.getpid()})

    async def metrics(_: Request) -> PlainTextResponse:
        text = generate_latest(REGISTRY).decode()
        with suppress(httpx.HTTPError):
            async with httpx.AsyncClient(timeout=1, trust_env=False) as client:
                text += (await client.get(parts.sdk_metrics)).text
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    return Starlette(routes=[Route("/health", health), Route("/metrics", metrics)])


async def _announce(parts: Parts, role: str, url: str) -> None:
    """Tell the API where this worker's metrics are, again and again while it lives."""
    # In containers every worker has the same few process ids: the host's name tells them apart.
    key = f"soma:metrics:{role}:{socket.gethostname()}-{os.getpid()}"
    while True:
        with suppress(RedisError, OSError):
            await parts.redis.set(key, url, ex=TTL_SECONDS)
        await asyncio.sleep(TTL_SECONDS / 3)


def _own_name(host: str) -> str:
    """What others reach this process by: where it listens, or the machine's name where that is everywhere."""
    return socket.gethostname() if host in {"0.0.0.0", "::"} else host  # noqa: S104 (compared, not bound)

"""One worker process: opens what its role needs, works until it is told to stop, drains, and leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack

import structlog
import uvloop

from somagent.adapters.logs import configure_logging
from somagent.adapters.settings import Settings, load_settings
from somagent.domain.errors import SomaError
from somagent.workers.health import serve_health
from somagent.workers.parts import open_parts
from somagent.workers.relay import relay_role
from somagent.workers.roles import Role, activities_role, slm_role, workflows_role

log = structlog.get_logger(__name__)

ROLES = {
    "workflows": workflows_role,
    "activities": activities_role,
    "slm": slm_role,
    "relay": relay_role,
}
DRAIN_SECONDS = 15.0


def run(role: str, port: int | None = None) -> None:
    """Work as ``role`` until SIGTERM or SIGINT, then drain and end the process.

    Args:
        role: one of ``ROLES``.
        port: where ``/health`` and ``/metrics`` are served; SOMAGENT_WORKER_PORT when absent, none when 0.
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    try:
        code = uvloop.run(_run(settings, role, settings.worker_port if port is None else port))
    except SomaError as error:
        log.error("worker_not_started", role=role, code=error.code, detail=error.detail)
        code = 1
    # Temporal's native runtime can abort an interpreter that ends in order; everything is closed and flushed by now.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _run(settings: Settings, role: str, port: int) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(open_parts(settings))
        work = ROLES[role](parts)
        await stack.enter_async_context(serve_health(parts, role, port))
        log.info("worker_started", role=role, pid=os.getpid())
        return await _until_stopped(work, stopping, role)


async def _until_stopped(work: Role, stopping: asyncio.Event, role: str) -> int:
    """Run until told to stop; a role that ends by itself is a failure the supervisor has to see."""
    running = asyncio.create_task(work.run())
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        log.info("worker_draining", role=role)
        await work.stop(DRAIN_SECONDS)
        told.cancel()
        await asyncio.wait({running}, timeout=DRAIN_SECONDS + 3)
        return 0
    told.cancel()
    error = running.exception()
    log.error("worker_ended", role=role, error=repr(error))
    return 1

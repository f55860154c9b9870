"""Running the API: uvicorn on uvloop, until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from types import FrameType

import uvicorn
from fastapi import FastAPI

from somagent.adapters.logs import configure_logging
from somagent.adapters.settings import load_settings
from somagent.api.app import create_app
from somagent.api.services import ALL_PORT, SERVICES
from somagent.api.state import check_reachable
from somagent.domain.errors import Code, SomaError

GRACE_SECONDS = 15


def serve(name: str | None = None, host: str | None = None, port: int | None = None) -> None:
    """Serve every service on 8080, or one alone on its own port, until SIGTERM or SIGINT.

    Requests under way get 15 s to end.

    Args:
        name: of the only service to serve.
        host: SOMAGENT_HOST when absent.
        port: when absent the service's own, or for all of them SOMAGENT_PORT.

    Raises:
        SomaError: ``input_invalid`` for a service that there is not; ``database_unavailable``.
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    own_port = _port_of(name) if name is not None else settings.port
    asyncio.run(check_reachable(settings))
    run(create_app(settings, service=name), host or settings.host, port or own_port)


def run(app: FastAPI, host: str, port: int) -> None:
    """Serve an application until a signal ends it."""
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn repeats the signal to whoever held it before; the default would turn a clean end into a death by it.
        signal.signal(signal_number, _already_ended)
    uvicorn.run(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=75,
    )


def _already_ended(_number: int, _frame: FrameType | None) -> None:
    """uvicorn has seen the signal."""


def _port_of(name: str) -> int:
    for service in SERVICES:
        if service.name == name:
            return service.port
    names = ", ".join(service.name for service in SERVICES)
    raise SomaError(
        Code.INPUT_INVALID, f"There is no service {name}. There are: {names}; without a name all run on {ALL_PORT}."
    )

"""The API as one application: every service, or one of them alone."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TypedDict

from fastapi import APIRouter, FastAPI

from somagent.adapters.settings import Settings, load_settings
from somagent.api.bodylimit import MIB
from somagent.api.edge import Edge
from somagent.api.faults import install_handlers
from somagent.api.http_metrics import HttpMetrics
from somagent.api.openapi import DESCRIPTION, build_openapi
from somagent.api.services import COMMON, SERVICES
from somagent.api.state import State, open_state
from somagent.api.switchboard import Switchboard

BODY_LIMITS: Mapping[str, int] = {"/v1/attachments": 50 * MIB + 64 * 1024}
"""Bytes: an attachment of 50 MiB and the multipart form around it."""


class _Lifespan(TypedDict):
    soma: State


def create_app(settings: Settings | None = None, *, service: str | None = None) -> FastAPI:
    """The application.

    Args:
        settings: those of the environment when absent.
        service: the name of the only service to serve; all of them when absent.
    """
    chosen = settings or load_settings()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[_Lifespan]:
        async with open_state(chosen) as state:
            yield {"soma": state}

    app = FastAPI(
        title="SomaGent",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    switchboard = Switchboard(routers_of(service))
    app.router.routes.append(switchboard)
    install_handlers(app)
    app.openapi = partial(build_openapi, app, switchboard.routes)  # type: ignore[method-assign] # FastAPI's documented way
    app.add_middleware(
        Edge,
        metrics=HttpMetrics(),
        body_limits=BODY_LIMITS,
        access_log=logging.getLogger("somagent.api").isEnabledFor(logging.DEBUG),
    )
    return app


def routers_of(service: str | None) -> Iterable[APIRouter]:
    """The routers of one service, or of all, after those that every process has."""
    yield from COMMON
    for known in SERVICES:
        if service in (None, known.name):
            yield from known.routers

"""Whether a process lives, and whether what it needs answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import timedelta
from typing import Final, Literal

from pydantic import Field
from redis.exceptions import RedisError
from starlette.responses import Response

from somagent.api.deps import State, StateDep, json_response, soma_router
from somagent.domain.model import Model

router = soma_router("health")

_LIMIT_SECONDS: Final = 2.0


class Alive(Model):
    """The process serves."""

    status: Literal["ok"] = "ok"


class Check(Model):
    """One part that this process needs."""

    ok: bool
    detail: str


class Readiness(Model):
    """Whether every part answers; with 503 ``status`` is unavailable and the checks say which part is away."""

    status: Literal["ready", "unavailable"]
    checks: Mapping[str, Check]


class RedisHealth(Model):
    """Whether Redis answers a PING."""

    status: Literal["ok", "unavailable"] = Field(description="200 with ok, 503 with unavailable")


@router.get("/health")
async def health() -> Alive:
    """Liveness: the process answers. Nothing else is asked."""
    return Alive()


@router.get("/ready", responses={200: {"model": Readiness}, 503: {"model": Readiness}})
async def ready(state: StateDep) -> Response:
    """Readiness: Postgres, Redis and Temporal, each asked now with 2 s to answer."""
    names = ("postgres", "redis", "temporal")
    checks = await asyncio.gather(_check(state.app_db.ping()), _check(_ping(state)), _check(_temporal_serves(state)))
    all_well = all(check.ok for check in checks)
    view = Readiness(status="ready" if all_well else "unavailable", checks=dict(zip(names, checks, strict=True)))
    return json_response(view, 200 if all_well else 503)


@router.get("/v1/health/redis", responses={200: {"model": RedisHealth}, 503: {"model": RedisHealth}})
async def redis_health(state: StateDep) -> Response:
    """A real PING."""
    answers = (await _check(_ping(state))).ok
    return json_response(RedisHealth(status="ok" if answers else "unavailable"), 200 if answers else 503)


async def _check(question: Awaitable[object]) -> Check:
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            await question
    except TimeoutError:
        return Check(ok=False, detail=f"no answer within {_LIMIT_SECONDS:g} s")
    except Exception as error:  # whatever a driver raises: the part does not answer
        return Check(ok=False, detail=type(error).__name__)
    return Check(ok=True, detail="answers")


async def _ping(state: State) -> None:
    if not await state.redis.ping():
        raise RedisError("no PONG")


async def _temporal_serves(state: State) -> None:
    if not await state.temporal.service_client.check_health(timeout=timedelta(seconds=_LIMIT_SECONDS)):
        raise ConnectionError("not serving")

"""Connecting to Temporal, and the names under which everything is found there."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TypeVar

from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode

from somagent.adapters.settings import Settings
from somagent.domain.errors import Code, SomaError

SOMA_TENANT = SearchAttributeKey.for_keyword("SomaTenant")
SOMA_CAPSULE = SearchAttributeKey.for_keyword("SomaCapsule")
SOMA_STATUS = SearchAttributeKey.for_keyword("SomaStatus")
SOMA_SESSION = SearchAttributeKey.for_keyword("SomaSession")

RPC_TIMEOUT = timedelta(seconds=5)

_Answer = TypeVar("_Answer")

_AWAY = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED)


async def connect(settings: Settings, *, lazy: bool = False, metrics_port: int | None = None) -> Client:
    """A client of the deployment's namespace.

    Args:
        lazy: connect at the first call; the API does, so that it serves while Temporal is away.
        metrics_port: where the SDK's own metrics are exported on loopback; None exports none.
    """
    runtime = None
    if metrics_port is not None:
        prometheus = PrometheusConfig(bind_address=f"127.0.0.1:{metrics_port}")
        runtime = Runtime(telemetry=TelemetryConfig(metrics=prometheus))
    return await Client.connect(
        settings.temporal_address,
        namespace=settings.temporal_namespace,
        data_converter=pydantic_data_converter,
        lazy=lazy,
        runtime=runtime,
    )


async def execute_update(
    client: Client, workflow_id: str, update: str, argument: object, *, update_id: str, result_type: type[_Answer]
) -> _Answer:
    """Send an update to a running workflow and await its answer for :data:`RPC_TIMEOUT`.

    A workflow's task that was about to take the update may have to be done again, since a signal came in between; the
    server then says that the workflow is not ready, and is asked again: the same id is the same update.

    Raises:
        WorkflowUpdateFailedError: the workflow's own refusal.
        WorkflowUpdateRPCTimeoutOrCancelledError: no answer in time.
        RPCError: NOT_FOUND when nobody is there; FAILED_PRECONDITION when it was not ready again and again.
    """
    handle = client.get_workflow_handle(workflow_id)
    pause = 0.05
    while True:
        try:
            answer: _Answer = await handle.execute_update(
                update, argument, id=update_id, result_type=result_type, rpc_timeout=RPC_TIMEOUT
            )
        except RPCError as error:
            if error.status is not RPCStatusCode.FAILED_PRECONDITION or pause > 1:
                raise
        else:
            return answer
        await asyncio.sleep(pause)
        pause *= 2


def is_undecided(error: RPCError) -> bool:
    """Whether an update may yet be taken: Temporal is away, or takes no more for the moment."""
    busy = (RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.FAILED_PRECONDITION)
    return is_away(error) or error.status in busy


def is_away(error: BaseException) -> bool:
    """Whether Temporal could not be asked, as against having said no."""
    if isinstance(error, RPCError):
        return error.status in _AWAY
    return isinstance(error, (OSError, TimeoutError, RuntimeError))


def temporal_unavailable() -> SomaError:
    """What people are told when an act needs Temporal's answer and there is none."""
    return SomaError(
        Code.TEMPORAL_UNAVAILABLE, "Temporal does not answer. Nothing was changed; try again shortly.", retry_after=2
    )

"""Connecting to Temporal, and the names under which everything is found there."""

from __future__ import annotations

from datetime import timedelta

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

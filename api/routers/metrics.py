"""Prometheus: this process' figures, and on the API's main port those of the workers too."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from somagent.api.deps import StateDep, soma_router
from somagent.api.exposition import everything

router = soma_router("health")


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(state: StateDep) -> Response:
    """Every metric of every process, in Prometheus' text format."""
    return Response(await everything(state), headers={"Content-Type": CONTENT_TYPE_LATEST})

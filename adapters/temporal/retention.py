"""How long Temporal keeps the history of a closed workflow."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.namespace.v1 import NamespaceConfig
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, UpdateNamespaceRequest
from temporalio.client import Client


async def ensure_retention(client: Client, days: int) -> None:
    """Raises the namespace's retention to ``days``; a longer one is left as it is.

    A development server keeps histories for a day, and then the UI's links to yesterday's jobs lead nowhere.

    Raises:
        RPCError: the server does not answer, or refuses.
    """
    wanted = timedelta(days=days)
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=client.namespace))
    kept: timedelta = described.config.workflow_execution_retention_ttl.ToTimedelta()
    if kept >= wanted:
        return
    retention = Duration()
    retention.FromTimedelta(wanted)
    await client.workflow_service.update_namespace(
        UpdateNamespaceRequest(
            namespace=client.namespace, config=NamespaceConfig(workflow_execution_retention_ttl=retention)
        )
    )

"""The search attributes by which operators find SomaGent's workflows."""

from __future__ import annotations

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from somagent.adapters.temporal.client import SOMA_CAPSULE, SOMA_SESSION, SOMA_STATUS, SOMA_TENANT

_ALL = (SOMA_TENANT, SOMA_CAPSULE, SOMA_STATUS, SOMA_SESSION)


async def ensure_search_attributes(client: Client) -> None:
    """Registers what the client's namespace lacks.

    The server's own option for this is silently ignored on a database file that exists already, hence this call
    at every start.

    Raises:
        RPCError: the server does not answer, or refuses.
    """
    known = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    missing = [key.name for key in _ALL if key.name not in known.custom_attributes]
    if not missing:
        return
    request = AddSearchAttributesRequest(namespace=client.namespace)
    for name in missing:
        request.search_attributes[name] = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    try:
        await client.operator_service.add_search_attributes(request)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:  # another stack on this server was faster
            raise

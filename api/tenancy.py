"""The tenant that a path names."""

from __future__ import annotations

from somagent.api.security import acting_for
from somagent.api.state import State
from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError


async def of_tenant(state: State, caller: Caller, tenant_id: str) -> Caller:
    """The caller as one who acts for the tenant in the path: the own one, or any with ``tenant:any``.

    Raises:
        SomaError: ``not_found``, also for a tenant that the caller may not know of.
    """
    try:
        return await acting_for(state, caller, tenant_id)
    except SomaError as error:
        raise SomaError(Code.NOT_FOUND, "There is no such tenant.") from error

"""The gate as endpoints meet it: the global kill switch before the token, and the verdict in the answer's headers."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from somagent.api.deps import request_id, state_of
from somagent.api.security import Requires
from somagent.domain.caller import Caller
from somagent.domain.capabilities import Capability
from somagent.domain.errors import SomaError
from somagent.services.admission import Approach, Passage

_DECISION: Final = b"x-policy-decision"
_SCORE: Final = b"x-policy-score"
_CONSTITUTION: Final = b"x-constitution-hash"


class Governed(Requires):
    """As :class:`Requires`, for endpoints that take prompts: before it looks at the token, the global kill switch."""

    async def __call__(self, request: Request) -> Caller:
        """Insist that not everything is stopped, then on token, tenant and capability.

        Raises:
            SomaError: ``kill_switch_active``, ``database_unavailable`` (503); as :class:`Requires`.
        """
        gate = state_of(request).gate
        try:
            await gate.watch.ensure_fresh()
            gate.kills.require_global_off()
        except SomaError:
            _say(request, Passage(), "", allowed=False)
            raise
        return await super().__call__(request)


def governed(capability: str) -> Governed:
    """``Annotated[Caller, Depends(governed("session:start"))]``; a misspelt capability fails at import."""
    return Governed(Capability(capability))


async def admit(request: Request, caller: Caller, approach: Approach) -> Passage:
    """Take a prompt through the gate; the answer says in its headers what came of it, a refusal too.

    Raises:
        SomaError: as :meth:`somagent.services.admission.Admission.admit`.
    """
    state = state_of(request)
    passage = Passage()
    try:
        await state.admission.admit(caller, approach, passage, request_id=request_id(request))
    except SomaError:
        _say(request, passage, caller.tenant_id, allowed=False)
        raise
    _say(request, passage, caller.tenant_id, allowed=True)
    return passage


def _say(request: Request, passage: Passage, tenant_id: str, *, allowed: bool) -> None:
    """Set the headers; a score only where one was computed."""
    headers: list[tuple[bytes, bytes]] = request.scope["soma.headers"]
    headers.append((_DECISION, b"allow" if allowed else b"refuse"))
    if passage.decision is not None:
        headers.append((_SCORE, repr(passage.decision.score).encode()))
        headers.append((_CONSTITUTION, passage.decision.constitution_hash.encode()))
        return
    try:
        constitution = state_of(request).gate.constitutions.of(tenant_id)
    except SomaError:
        return
    headers.append((_CONSTITUTION, constitution.content_hash.encode()))

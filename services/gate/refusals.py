"""Which tokens are refused although their signature holds: asked at each use, answered from memory."""

from __future__ import annotations

from dataclasses import dataclass

from somagent.domain.caller import Caller
from somagent.domain.errors import Code
from somagent.services.gate.gate import Gate


@dataclass(frozen=True, slots=True)
class GateRefusals:
    """What the gate knows against tokens and their users."""

    gate: Gate

    def __call__(self, caller: Caller) -> Code | None:
        """Why the token is refused, if it is."""
        gate = self.gate
        if caller.jti in gate.revocations or gate.cutoffs.refuses(caller.tenant_id, caller.user_id, caller.iat):
            return Code.TOKEN_REVOKED
        if (caller.tenant_id, caller.user_id) in gate.disabled_users:
            return Code.USER_DISABLED
        return None

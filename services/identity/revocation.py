"""Revoking a token: its id is remembered until it would have ended by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import asyncpg

from somagent.domain.caller import Caller
from somagent.domain.capabilities import Capability, require
from somagent.domain.errors import Code, SomaError
from somagent.services.audit.intake import by, take_in
from somagent.services.identity.users import TOPIC
from somagent.services.tokens import Claims

_REVOKE: Final = """
INSERT INTO revoked_tokens (jti, tenant_id, user_id, revoked_by, expires_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING RETURNING true
"""


async def revoke(connection: asyncpg.Connection, caller: Caller, claims: Claims) -> None:
    """Revoke a token whose signature holds, in the caller's transaction. Again, or after its end: nothing changes.

    The caller commits, and then asks the gate to look (``gate.watch.refresh()``).

    Raises:
        SomaError: ``not_found`` for another tenant's; ``capability_missing`` for somebody else's without
            identity:admin.
    """
    if claims.tenant_id != caller.tenant_id:
        raise SomaError(Code.NOT_FOUND, "There is no such token.")
    if caller.visiting or claims.sub != caller.user_id:
        require(caller, Capability.IDENTITY_ADMIN)
    if await connection.fetchval(_REVOKE, claims.jti, claims.tenant_id, claims.sub, caller.user_id, end_of(claims)):
        happening = by(caller, "token.revoked", f"user:{claims.sub}", topic=TOPIC, detail={"jti": claims.jti})
        await take_in(connection, happening)


def end_of(claims: Claims) -> datetime:
    """When the token ends by itself."""
    return datetime.fromtimestamp(claims.exp, UTC)

"""Forgetting what has become of no use: wrong tries, revocations and cut-offs whose tokens have ended by themselves."""

from __future__ import annotations

from typing import Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from somagent.services.identity.attempts import FORGOTTEN_AFTER

_FORGET: Final = (
    f"DELETE FROM login_failures WHERE failed_at < now() - interval '{FORGOTTEN_AFTER}'",  # noqa: S608 - ours
    "DELETE FROM revoked_tokens WHERE expires_at < now() - interval '1 hour'",
    # The longest life of a token is a year, see `somagent tokens issue --ttl`.
    "DELETE FROM token_cutoffs WHERE cut_off_at < now() - interval '366 days'",
)


async def forget_old(connection: asyncpg.Connection | PoolConnectionProxy) -> None:
    """Delete it, of every tenant, where the role is soma_system."""
    for statement in _FORGET:
        await connection.execute(statement)

"""Telling those who may review: by name where the tenant's users say who they are, else everyone of the tenant."""

from __future__ import annotations

from typing import Final

import asyncpg

from somagent.domain.capabilities import EVERYTHING, Capability
from somagent.services.notifications import WEB, notify

_REVIEWERS: Final = """
SELECT id FROM users WHERE tenant_id = $1 AND id <> $2 AND disabled_at IS NULL AND capabilities && $3::text[]
ORDER BY id LIMIT 100
"""
_REVIEWING: Final = (EVERYTHING, Capability.MODERATION_REVIEW.value, Capability.IDENTITY_ADMIN.value)


async def tell_reviewers(
    connection: asyncpg.Connection, tenant_id: str, about: str, message: str, *, severity: str, effect_key: str
) -> None:
    """A notification for each reviewer, in the caller's transaction.

    People whose tokens an operator issues hold their capabilities there alone; where no user's record names a
    reviewer, everyone of the tenant is told, so that a lock is never nobody's.

    Args:
        about: the user that it is about, who is not told by name.
        effect_key: the same gives no second notification.
    """
    rows = await connection.fetch(_REVIEWERS, tenant_id, about, list(_REVIEWING))
    for reader in [row["id"] for row in rows] or [None]:
        key = effect_key if reader is None else f"{effect_key}:{reader}"
        await notify(
            connection, tenant_id, effect_key=key, channel=WEB, message=message, severity=severity, user_id=reader
        )

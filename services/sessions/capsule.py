"""The capsule that a session is held with."""

from __future__ import annotations

from typing import Final

import asyncpg

from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.errors import Code, SomaError
from somagent.services.installed import installed_capsule

ENVIRONMENT: Final = "prod"
"""Where a session's capsule is installed."""


async def capsule_of(connection: asyncpg.Connection, capsule_id: str | None) -> CapsuleDefinition | None:
    """The definition of the capsule that a session is held with; None without one.

    Raises:
        SomaError: ``capsule_not_installed``, ``capsule_recalled``.
    """
    if capsule_id is None:
        return None
    found = await installed_capsule(connection, capsule_id, None, ENVIRONMENT)
    if found is None:
        raise SomaError(
            Code.CAPSULE_NOT_INSTALLED,
            f"The capsule {capsule_id} is not installed in {ENVIRONMENT!r}. Install it with POST /v1/installations "
            "first.",
        )
    if found.status != "installed":
        raise SomaError(Code.CAPSULE_RECALLED, f"The capsule {capsule_id} was recalled. Install another version.")
    return found.definition

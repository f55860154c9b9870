"""Engaging and lifting a switch: one transaction with its audit, the jobs it stops, and the orders that stop them."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID, uuid4

import asyncpg
import structlog

from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError
from somagent.services.audit.intake import Happening, by, take_in
from somagent.services.kill_switch.scope import Scope
from somagent.services.kill_switch.sessions import stop_sessions
from somagent.services.kill_switch.stopping import Look, stop_jobs
from somagent.services.starter import FIRST_LOOK

log = structlog.get_logger(__name__)

LOCK_SECONDS: Final = 1.5
"""How long a switch waits for admissions that are just being written; the looks that follow find what is left."""

_ALONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended('kill_switches', 0))"

_ENGAGE: Final = """
INSERT INTO kill_switches (id, scope, tenant_id, target, reason, engaged_by) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (scope, tenant_id, target) WHERE lifted_at IS NULL DO UPDATE SET reason = excluded.reason
RETURNING id
"""
_LIFT: Final = """
UPDATE kill_switches SET lifted_at = clock_timestamp(), lifted_by = $4
WHERE scope = $1 AND tenant_id = $2 AND target = $3 AND lifted_at IS NULL
RETURNING id, reason
"""
_RUN: Final = """
SELECT EXISTS (SELECT 1 FROM jobs WHERE tenant_id = $1 AND id = $2)
  OR EXISTS (SELECT 1 FROM sessions WHERE tenant_id = $1 AND id = $2)
"""
_CAPSULE: Final = """
SELECT EXISTS (SELECT 1 FROM installations WHERE tenant_id = $1 AND capsule_id = $2)
  OR EXISTS (SELECT 1 FROM jobs WHERE tenant_id = $1 AND capsule_id = $2)
"""


async def engage(connection: asyncpg.Connection, caller: Caller, scope: Scope, reason: str) -> Look:
    """Engage a switch, or give an engaged one another reason; what it stopped at once.

    Args:
        connection: in no transaction yet; bound to the scope's tenant, or of ``soma_system`` for everything.

    Raises:
        SomaError: ``not_found``, for a capsule or run that the tenant does not have.
    """
    await require_target(connection, scope)
    async with connection.transaction():
        await _wait_for_admissions(connection)
        new_id = uuid4()
        switch_id = await connection.fetchval(
            _ENGAGE, new_id, scope.name, scope.tenant_id, scope.target, reason, caller.user_id
        )
        found = await stop(connection)
        action = "kill_switch.engaged" if switch_id == new_id else "kill_switch.reason_changed"
        await _audit(connection, caller, scope, action, reason, stopped=len(found.tenants))
        for tenant_id in set(found.tenants) - {caller.tenant_id}:
            if not scope.tenant_id:
                await _tell_tenant(connection, tenant_id, scope, reason)
        return found


async def lift(connection: asyncpg.Connection, caller: Caller, scope: Scope) -> None:
    """Lift a switch; what it stopped stays stopped until somebody retries it.

    Raises:
        SomaError: ``kill_switch_not_engaged``; ``not_found``, for a capsule or run that the tenant does not have.
    """
    async with connection.transaction():
        await require_target(connection, scope)
        row = await connection.fetchrow(_LIFT, scope.name, scope.tenant_id, scope.target, caller.user_id)
        if row is None:
            raise SomaError(Code.KILL_SWITCH_NOT_ENGAGED, "This kill switch is not engaged; there is nothing to lift.")
        await _audit(connection, caller, scope, "kill_switch.lifted", row["reason"])


async def stop(connection: asyncpg.Connection, *, delay: timedelta = FIRST_LOOK) -> Look:
    """One look: stop what the switches that this connection sees match and no look has stopped yet."""
    return await stop_sessions(connection, delay=delay) + await stop_jobs(connection, delay=delay)


async def _audit(
    connection: asyncpg.Connection, caller: Caller, scope: Scope, action: str, reason: str, **more: int
) -> None:
    """In the chain of the tenant that is stopped; a stop of everything, in that of whoever engages it."""
    tenant_id = scope.tenant_id or caller.tenant_id
    happening = by(
        caller, action, scope.object, tenant_id=tenant_id, topic="gateway.audit", detail={"reason": reason, **more}
    )
    await take_in(connection, happening)


async def _tell_tenant(connection: asyncpg.Connection, tenant_id: str, scope: Scope, reason: str) -> None:
    """That everything was stopped, in the chain of a tenant that it struck; who did it is the operator's affair."""
    happening = Happening(
        tenant_id=tenant_id,
        actor="somagent",
        action="kill_switch.engaged",
        object=scope.object,
        topic="gateway.audit",
        detail={"reason": reason},
    )
    await take_in(connection, happening)


async def _wait_for_admissions(connection: asyncpg.Connection) -> None:
    """Let what is being admitted commit, so that it is seen; what comes later sees the switch."""
    try:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{int(LOCK_SECONDS * 1000)}ms'")
            await connection.execute(_ALONE)
    except asyncpg.LockNotAvailableError:
        # Somebody hangs in the middle of an admission. A stop cannot wait for that; the next looks will.
        log.warning("kill_switch_did_not_wait", seconds=LOCK_SECONDS)
    await connection.execute("SET LOCAL lock_timeout = 0")


async def require_target(connection: asyncpg.Connection, scope: Scope) -> None:
    """Insist that the tenant has the capsule or run.

    Raises:
        SomaError: ``not_found``.
    """
    match scope.name:
        case "run":
            known = await connection.fetchval(_RUN, scope.tenant_id, UUID(scope.target))
        case "capsule":
            known = await connection.fetchval(_CAPSULE, scope.tenant_id, scope.target)
        case _:
            known = True
    if not known:
        raise SomaError(Code.NOT_FOUND, f"There is no such {scope.name}.")

"""What the gate takes of one ``POST /v1/jobs``, in microseconds: run with the environment of the stack's own API.

Its parts are timed by themselves in this process: the look into the kill switches and the verdict on the job, which are
CPU alone, and the two things that it adds to the statement which takes the job, the kill switch's lock and the audit's
row. In the statement those share one round trip and one commit with everything else, so what they take here, less that
of a statement which does nothing, is more than they take there.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import orjson

from somagent.adapters.keys import KeyRing
from somagent.adapters.postgres.database import Database, TenantConnection
from somagent.adapters.settings import load_settings
from somagent.services.audit.intake import Happening, take_in
from somagent.services.gate.gate import Gate, open_gate
from somagent.services.installed import installed_capsule
from somagent.services.jobs.verdicts import verdict_on_job

ROUNDS = 300


async def gate_cost(tenant_id: str, capsule_id: str) -> dict[str, float]:
    """Microseconds of each part: the medians."""
    settings = load_settings()
    database = await Database.open(settings.postgres_app_url.get_secret_value(), pool_size=1)
    system = await Database.open(settings.postgres_system_url.get_secret_value(), pool_size=2)
    try:
        async with open_gate(settings, system, KeyRing(settings.keys)) as gate:
            async with database.connection(tenant_id) as connection:
                judged = await _judging(gate, connection, tenant_id, capsule_id)
                stopped, audited = await _statements(connection, tenant_id, capsule_id)
            return {"verdict": judged, "kill_switch": stopped, "audit": audited}
    finally:
        await system.close()
        await database.close()


async def _judging(gate: Gate, connection: TenantConnection, tenant_id: str, capsule_id: str) -> float:
    capsule = await installed_capsule(connection, capsule_id, None, "prod")
    if capsule is None:
        raise RuntimeError(f"{capsule_id} is not installed")
    definition = capsule.definition

    async def judge() -> None:
        gate.kills.require_off(tenant_id, capsule_id)
        law = await gate.law(tenant_id)
        verdict = await verdict_on_job(tenant_id, definition, {"t": "x"}, law)
        if not verdict.allowed:
            raise RuntimeError("the job would be refused")

    return statistics.median([await _microseconds(judge) for _ in range(ROUNDS)])


async def _statements(connection: TenantConnection, tenant_id: str, capsule_id: str) -> tuple[float, float]:
    happening = Happening(
        tenant_id=tenant_id, actor="bench", action="job.submitted", object="job:0", detail={"capsule_id": capsule_id}
    )

    async def nothing() -> None:
        await connection.fetchval("SELECT 1")

    async def stopped() -> None:
        await connection.fetchval("SELECT soma_stopped($1, $2, $3)", tenant_id, capsule_id, [str(uuid4())])

    async def audited() -> None:
        await take_in(connection, happening)

    times: dict[Callable[[], Awaitable[None]], list[float]] = {nothing: [], stopped: [], audited: []}
    transaction = connection.transaction()
    await transaction.start()
    try:
        for _ in range(ROUNDS):
            for act, taken in times.items():
                taken.append(await _microseconds(act))
    finally:
        await transaction.rollback()
    base = statistics.median(times[nothing])
    return statistics.median(times[stopped]) - base, statistics.median(times[audited]) - base


async def _microseconds(act: Callable[[], Awaitable[None]]) -> float:
    start = time.perf_counter()
    await act()
    return (time.perf_counter() - start) * 1e6


if __name__ == "__main__":
    print(orjson.dumps(asyncio.run(gate_cost(*sys.argv[1:3]))).decode())

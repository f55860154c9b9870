"""The gate of a process: every book, and the watch that keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from somagent.adapters.keys import KeyRing
from somagent.adapters.postgres.database import Database
from somagent.adapters.settings import Settings
from somagent.domain.policy.law import Law
from somagent.services.gate.books import (
    DisabledUsers,
    KillSwitches,
    Revocations,
    Tenants,
    TokenCutoffs,
    TrainingLocks,
)
from somagent.services.gate.constitutions import Constitutions
from somagent.services.gate.rules import Rules
from somagent.services.gate.watch import GateWatch


@dataclass(frozen=True, slots=True)
class Gate:
    """What governs, as of this moment.

    Every book answers from memory. Ask :meth:`GateWatch.ensure_fresh` before relying on one where nothing else asks
    Postgres in the same breath.
    """

    watch: GateWatch
    revocations: Revocations
    disabled_users: DisabledUsers
    cutoffs: TokenCutoffs
    kills: KillSwitches
    constitutions: Constitutions
    rules: Rules
    tenants: Tenants
    training: TrainingLocks

    async def law(self, tenant_id: str) -> Law:
        """What the tenant's acts are judged by.

        Raises:
            SomaError: ``constitution_unverifiable``; ``database_unavailable`` when nobody can tell what governs.
        """
        await self.watch.ensure_fresh()
        mode = self.tenants.of(tenant_id).mode
        return Law(self.constitutions.of(tenant_id), self.rules.of(tenant_id), mode.is_production, mode.verdict_logging)


@asynccontextmanager
async def open_gate(settings: Settings, system_db: Database, keyring: KeyRing) -> AsyncIterator[Gate]:
    """Read what governs, and keep it up to date.

    Raises:
        SomaError: ``database_unavailable``.
    """
    revocations, disabled, cutoffs = Revocations(), DisabledUsers(), TokenCutoffs()
    kills, training = KillSwitches(), TrainingLocks()
    constitutions, rules, tenants = Constitutions(keyring), Rules(), Tenants(settings.deployment_mode)
    watch = GateWatch(system_db, (revocations, disabled, cutoffs, kills, constitutions, rules, tenants, training))
    await watch.start()
    try:
        yield Gate(watch, revocations, disabled, cutoffs, kills, constitutions, rules, tenants, training)
    finally:
        await watch.close()

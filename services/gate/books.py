"""The books that the gate keeps: who is refused, what is stopped, what is in force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import asyncpg
import orjson

from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError
from somagent.domain.modes import DeploymentMode
from somagent.domain.names import is_tenant_id


class Revocations:
    """Tokens that are refused although their signature holds."""

    kind = "tokens"

    def __init__(self) -> None:
        self._revoked: frozenset[str] = frozenset()

    async def load(self, connection: asyncpg.Connection) -> None:
        rows = await connection.fetch("SELECT jti FROM revoked_tokens WHERE expires_at > now()")
        self._revoked = frozenset(row["jti"] for row in rows)

    def __contains__(self, jti: str) -> bool:
        return jti in self._revoked


class DisabledUsers:
    """People whose tokens no longer speak for them."""

    kind = "users"

    def __init__(self) -> None:
        self._disabled: frozenset[tuple[str, str]] = frozenset()

    async def load(self, connection: asyncpg.Connection) -> None:
        rows = await connection.fetch("SELECT tenant_id, id FROM users WHERE disabled_at IS NOT NULL")
        self._disabled = frozenset((row["tenant_id"], row["id"]) for row in rows)

    def __contains__(self, person: tuple[str, str]) -> bool:
        return person in self._disabled


class TokenCutoffs:
    """People whose tokens are refused when they were issued up to a moment."""

    kind = "cutoffs"

    def __init__(self) -> None:
        self._second: Mapping[tuple[str, str], int] = {}

    async def load(self, connection: asyncpg.Connection) -> None:
        rows = await connection.fetch(
            "SELECT tenant_id, user_id, floor(extract(epoch FROM cut_off_at))::bigint AS second FROM token_cutoffs"
        )
        self._second = {(row["tenant_id"], row["user_id"]): row["second"] for row in rows}

    def refuses(self, tenant_id: str, user_id: str, issued_at: int) -> bool:
        """Whether a token of this person, issued in that second since the epoch, is refused."""
        second = self._second.get((tenant_id, user_id))
        return second is not None and issued_at <= second

    def first_second(self, tenant_id: str, user_id: str) -> int:
        """The earliest second in which a token can be issued that is not refused."""
        return self._second.get((tenant_id, user_id), -1) + 1


@dataclass(frozen=True, slots=True)
class Stop:
    """A kill switch that is engaged."""

    scope: str
    tenant_id: str
    target: str
    reason: str


class KillSwitches:
    """What is stopped."""

    kind = "kills"

    def __init__(self) -> None:
        self._stops: Mapping[tuple[str, str, str], Stop] = {}

    async def load(self, connection: asyncpg.Connection) -> None:
        rows = await connection.fetch(
            "SELECT scope, tenant_id, target, reason FROM kill_switches WHERE lifted_at IS NULL"
        )
        self._stops = {(row["scope"], row["tenant_id"], row["target"]): Stop(*row.values()) for row in rows}

    def concerning(self, tenant_id: str) -> tuple[Stop, ...]:
        """What is engaged that can stop something of this tenant's."""
        return tuple(stop for stop in self._stops.values() if stop.tenant_id in ("", tenant_id))

    def require_global_off(self) -> None:
        """Insist that not everything is stopped.

        Raises:
            SomaError: ``kill_switch_active``.
        """
        if self._stops and (stop := self._stops.get(("global", "", ""))):
            raise _stopped("everything", stop)

    def require_off(self, tenant_id: str, capsule_id: str | None = None, run_id: str | None = None) -> None:
        """Insist that nothing stops this tenant, capsule or run.

        Raises:
            SomaError: ``kill_switch_active``.
        """
        if not self._stops:
            return
        self.require_global_off()
        if stop := self._stops.get(("tenant", tenant_id, tenant_id)):
            raise _stopped(f"tenant {tenant_id}", stop)
        if capsule_id is not None and (stop := self._stops.get(("capsule", tenant_id, capsule_id))):
            raise _stopped(f"capsule {capsule_id}", stop)
        if run_id is not None and (stop := self._stops.get(("run", tenant_id, run_id))):
            raise _stopped(f"run {run_id}", stop)


def _stopped(what: str, stop: Stop) -> SomaError:
    return SomaError(
        Code.KILL_SWITCH_ACTIVE,
        f"The kill switch stops {what}: {stop.reason}. Nothing new is taken until somebody who may lifts it.",
        retry_after=30,
    )


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """What the gate needs of a tenant's settings."""

    mode: DeploymentMode
    settings: Mapping[str, object]


class Tenants:
    """Every tenant's settings. ``default_mode`` holds for tenants that have chosen none."""

    kind = "tenants"

    def __init__(self, default_mode: DeploymentMode) -> None:
        self._default = TenantSettings(default_mode, {})
        self._tenants: Mapping[str, TenantSettings] = {}

    async def load(self, connection: asyncpg.Connection) -> None:
        rows = await connection.fetch("SELECT id, settings::text AS settings FROM tenants")
        self._tenants = {row["id"]: self._understood(orjson.loads(row["settings"])) for row in rows}

    def __contains__(self, tenant_id: str) -> bool:
        return is_tenant_id(tenant_id) and tenant_id in self._tenants

    def of(self, tenant_id: str) -> TenantSettings:
        """The tenant's settings, or the deployment's defaults."""
        return self._tenants.get(tenant_id, self._default)

    def _understood(self, settings: Mapping[str, object]) -> TenantSettings:
        mode = settings.get("deployment_mode")
        return TenantSettings(DeploymentMode(mode) if isinstance(mode, str) else self._default.mode, settings)


@dataclass(frozen=True, slots=True)
class Training:
    """An open training session."""

    tenant_id: str
    started_by: str
    started_at: datetime
    reason: str


class TrainingLocks:
    """Who trains which tenant's agents at this moment."""

    kind = "training"

    def __init__(self) -> None:
        self._open: Mapping[str, Training] = {}

    async def load(self, connection: asyncpg.Connection) -> None:
        rows = await connection.fetch(
            "SELECT tenant_id, started_by, started_at, reason FROM training_sessions WHERE stopped_at IS NULL"
        )
        self._open = {row["tenant_id"]: Training(*row.values()) for row in rows}

    def require_free(self, caller: Caller) -> None:
        """Insist that nobody but the caller trains the agents of the tenant it acts for.

        Raises:
            SomaError: ``training_locked``.
        """
        training = self._open.get(caller.tenant_id)
        if training is not None and (caller.visiting or training.started_by != caller.user_id):
            raise SomaError(
                Code.TRAINING_LOCKED,
                f"{training.started_by} trains this tenant's agents ({training.reason}); until that is stopped, only "
                "they change what the agents are made of. Wait, or have an administrator stop the training.",
            )

"""The adapters whose effects are rows in Postgres: memory, notifications, policy, analytics."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import asyncpg
from pydantic import BaseModel

from somagent.adapters.settings import Settings
from somagent.adapters.slm.port import Provider
from somagent.domain.actions import remote
from somagent.domain.errors import Code, SomaError
from somagent.services.budget_variance import analyse_budget
from somagent.services.gate.gate import Gate
from somagent.services.jobs.effects import Act, RecordedEffect
from somagent.services.memory import Author, MemoryService
from somagent.services.notifications import Channels, notify
from somagent.services.policy_evaluation import evaluate


def recorded_effects(settings: Settings, embedding: Provider, gate: Gate) -> Mapping[str, RecordedEffect]:
    """The recorded effect of each in-house adapter.

    Args:
        embedding: the provider of embeddings (``providers_from(settings).embedding``); whoever made it closes it.

    Raises:
        SomaError: ``validation_failed``, when SOMAGENT_WEBHOOKS cannot be used.
    """
    return {
        "memory": MemoryEffects(MemoryService(embedding)),
        "notifications": NotificationEffects(Channels.from_settings(settings)),
        "policy": PolicyEffects(gate),
        "analytics": AnalyticsEffects(),
    }


class MemoryEffects:
    """``memory.*``: what is remembered carries the job, the step and the submitter."""

    def __init__(self, memory: MemoryService) -> None:
        self._memory = memory

    async def execute(self, connection: asyncpg.Connection, act: Act) -> BaseModel:
        """Remember, recall or retrieve within the step's transaction."""
        tenant_id = act.job.tenant_id
        match act.params:
            case remote.RememberParams():
                return await self._memory.remember(connection, tenant_id, _author(act), act.params)
            case remote.RememberAllParams():
                return await self._memory.remember_all(connection, tenant_id, _author(act), act.params)
            case remote.RecallParams():
                return await self._memory.recall(connection, tenant_id, act.params)
            case remote.RetrieveParams():
                return await self._memory.retrieve(connection, tenant_id, act.params)
            case _:
                raise _not_ours(act)


class NotificationEffects:
    """``notifications.send``."""

    def __init__(self, channels: Channels) -> None:
        self._channels = channels

    async def execute(self, connection: asyncpg.Connection, act: Act) -> BaseModel:
        """Record the notification; the step's effect key makes it one."""
        if not isinstance(act.params, remote.NotificationSendParams):
            raise _not_ours(act)
        self._channels.check(act.params.channel)
        sent = await notify(
            connection,
            act.job.tenant_id,
            effect_key=act.context.effect_key,
            channel=act.params.channel,
            message=act.params.message,
            severity=act.params.severity,
            job_id=act.job.job_id,
            step_id=act.step_id,
        )
        return remote.NotificationSendOutput(notification_id=str(sent.notification_id), status=sent.status)


class PolicyEffects:
    """``policy.evaluate``: a job asks for its own tenant only."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def execute(self, connection: asyncpg.Connection, act: Act) -> BaseModel:
        """Judge; a repeat of the step gives the same decision id."""
        if not isinstance(act.params, remote.PolicyEvaluateParams):
            raise _not_ours(act)
        if act.params.tenant not in (None, act.job.tenant_id):
            raise SomaError(Code.TENANT_MISMATCH, "A job can ask policy for its own tenant only; leave `tenant` out.")
        return await evaluate(act.params, act.context.effect_key, await self._gate.law(act.job.tenant_id))


class AnalyticsEffects:
    """``analytics.analyse_budget``."""

    async def execute(self, connection: asyncpg.Connection, act: Act) -> BaseModel:
        """Compare a run's spending with its budget."""
        if not isinstance(act.params, remote.AnalyseBudgetParams):
            raise _not_ours(act)
        return await analyse_budget(connection, act.job.tenant_id, act.params)


def _author(act: Act) -> Author:
    return Author(source="job", user_id=act.job.submitted_by, job_id=UUID(act.job.job_id), step_id=act.step_id)


def _not_ours(act: Act) -> SomaError:
    return SomaError(Code.INTERNAL_ERROR, f"The action {act.spec.name} has no implementation here.", retryable=False)

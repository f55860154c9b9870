"""A piece of work taken up, and what is recorded when a step of it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import asyncpg

from somagent.adapters.postgres.database import TenantConnection
from somagent.domain.capsules.definition import CapsuleDefinition, Step
from somagent.domain.capsules.plan import PlannedStep
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.jobs import Failure, WorkArgument, WorkOutcome, WorkResult
from somagent.domain.policy.law import Law
from somagent.services.gate.gate import Gate
from somagent.services.installed import FrozenCapsule, frozen_capsule
from somagent.services.jobs.outcome import WAITED_FOR, back_off, ended
from somagent.services.jobs.store import JobState, begin, mark
from somagent.services.jobs.verdicts import ActRefused, record_refusal


@dataclass(frozen=True, slots=True)
class Work:
    """The job as it stands, and what it runs."""

    job: JobState
    definition: CapsuleDefinition
    steps: Mapping[str, Step]
    planned: Mapping[str, PlannedStep]
    gate: Gate
    approved: frozenset[str] = frozenset()
    """Steps that the workflow had people asked about: they need leave whatever the capsule says by now."""

    async def law(self) -> Law:
        """What the job's acts are judged by at this moment.

        Raises:
            SomaError: ``constitution_unverifiable``, ``database_unavailable``.
        """
        return await self.gate.law(self.job.tenant_id)


async def take_up(
    connection: TenantConnection, argument: WorkArgument, run_id: str | None, gate: Gate
) -> tuple[Work | None, WorkResult]:
    """Begin work on a job; without work, the result says why there is none."""
    first = argument.steps[0] if argument.steps else None
    job = await begin(connection, argument.job_id, argument.tenant_id, argument.epoch, run_id, first)
    if job is None:
        return None, await ended(connection, argument.job_id)
    try:
        frozen = await frozen_capsule(connection, job.installation_id) if job.installation_id else None
    except SomaError as error:
        failure = Failure(code=error.code, detail=error.detail)
        return None, WorkResult(outcome=WorkOutcome.FAILED, failure=failure)
    if frozen is None:
        failure = Failure(code=Code.CAPSULE_NOT_INSTALLED, detail="The capsule's installation is gone.")
        return None, WorkResult(outcome=WorkOutcome.FAILED, failure=failure)
    return _work(job, frozen, gate, frozenset(argument.approved)), WorkResult()


def _work(job: JobState, frozen: FrozenCapsule, gate: Gate, approved: frozenset[str]) -> Work:
    return Work(
        job,
        frozen.definition,
        {step.id: step for step in frozen.definition.steps},
        {step.id: step for step in frozen.plan.steps},
        gate,
        approved,
    )


async def step_failed(
    connection: asyncpg.Connection, work: Work, step_id: str, error: SomaError, *, retryable: bool | None = None
) -> WorkResult:
    """Record a failed attempt, and say whether there is another."""
    job, planned = work.job, work.planned[step_id]
    if isinstance(error, ActRefused):
        await record_refusal(connection, job, step_id, error)
    attempt = job.attempt(step_id)
    failure = Failure(code=error.code, detail=error.detail, step_id=step_id)
    delay = back_off(error, attempt, job.attempt_base(step_id), planned, retryable=retryable)
    waited_for = error.code in WAITED_FOR
    status = "failed" if delay is None else "waiting" if waited_for else "pending"
    flags = await mark(
        connection, job.job_id, job.epoch, step_id, planned.action, status, attempt - waited_for, failure=failure
    )
    if flags is None:
        return await ended(connection, job.job_id)
    if delay is None:
        return WorkResult(outcome=WorkOutcome.FAILED, failure=failure)
    return WorkResult(outcome=WorkOutcome.RETRY, failure=failure, retry_after_seconds=delay)

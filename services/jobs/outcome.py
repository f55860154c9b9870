"""What a piece of work reports when it could not go on."""

from __future__ import annotations

from uuid import UUID

import asyncpg
from pydantic import JsonValue

from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.capsules.plan import PlannedStep
from somagent.domain.capsules.references import resolve
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.jobs import Failure, WorkOutcome, WorkResult
from somagent.services.jobs.store import JobState

WAITED_FOR = frozenset({Code.RATE_LIMITED, Code.CONSTITUTION_UNVERIFIABLE})
"""What does not fail a step: a limit passes by itself, and a constitution that cannot be verified is an operator's
matter, after which every job goes on as if nothing had been. Until then the step shows the error."""
LONGEST_BACK_OFF = 600.0
"""Seconds that doubling leads to at most; a capsule's own back-off may be longer from the first."""


async def ended(connection: asyncpg.Connection, job_id: str, *, settled: tuple[str, ...] = ()) -> WorkResult:
    """The job was found ended, or its step written by another attempt."""
    status = await connection.fetchval("SELECT status FROM jobs WHERE id = $1", UUID(job_id))
    if status == "completed":
        return WorkResult(settled=settled, concluded=True)
    if status in ("queued", "running", "waiting", "paused"):
        return WorkResult(settled=settled, outcome=WorkOutcome.RETRY, retry_after_seconds=0.1)
    detail = "The job was concluded elsewhere."
    return WorkResult(
        settled=settled, outcome=WorkOutcome.ENDED, failure=Failure(code=status or "cancelled", detail=detail)
    )


def back_off(
    error: SomaError, attempt: int, base: int, step: PlannedStep, *, retryable: bool | None = None
) -> float | None:
    """Seconds until the next attempt, or None when the step has failed for good.

    ``retryable`` overrides what the error's category says.

    What is :data:`WAITED_FOR` is waited for without end and uses up no attempt.
    """
    if error.code in WAITED_FOR:
        return error.retry_after or 1.0
    used = attempt - base
    may_pass = error.retryable if retryable is None else retryable
    if not may_pass or used >= step.max_attempts:
        return None
    doubled: float = min(step.backoff_seconds * 2 ** (used - 1), max(step.backoff_seconds, LONGEST_BACK_OFF))
    return max(doubled, error.retry_after or 0.0)


def job_outputs(definition: CapsuleDefinition, job: JobState) -> dict[str, JsonValue]:
    """The job's result, from the outputs of its steps.

    Raises:
        SomaError: ``reference_unresolved``.
    """
    return {name: resolve(value, job.inputs, job.outputs, job.skipped) for name, value in definition.outputs.items()}


def concluding_outputs(definition: CapsuleDefinition, job: JobState) -> dict[str, JsonValue] | None:
    """The job's result where its last step can conclude it; None where an output is missing, which fails the job."""
    try:
        return job_outputs(definition, job)
    except SomaError:
        return None

"""Ordering a job's workflow another time: after a retry, or when Temporal has lost it."""

from __future__ import annotations

import asyncpg

from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.jobs import JobArgument
from somagent.domain.messages.orders import WorkflowOrder
from somagent.services.installed import FrozenCapsule, InstalledCapsule, frozen_capsule
from somagent.services.jobs.submission import order_for

_SETTLED = "SELECT step_id FROM job_steps WHERE job_id = $1 AND status IN ('completed', 'skipped')"


async def argument_again(connection: asyncpg.Connection, job: asyncpg.Record) -> tuple[JobArgument, FrozenCapsule]:
    """The start argument of a job's row as it stands now: what is settled is not done again.

    Raises:
        SomaError: ``capsule_not_installed``, when the installation is gone.
    """
    frozen = await frozen_capsule(connection, job["installation_id"])
    if frozen is None:
        raise SomaError(Code.CAPSULE_NOT_INSTALLED, "The job's installation is gone; submit the job anew.")
    settled = await connection.fetch(_SETTLED, job["id"])
    argument = JobArgument(
        job_id=str(job["id"]),
        tenant_id=job["tenant_id"],
        plan=frozen.plan,
        epoch=job["epoch"],
        settled=tuple(sorted(row["step_id"] for row in settled)),
        deadline=job["deadline"],
        sees_steps_off=True,
    )
    return argument, frozen


async def order_again(connection: asyncpg.Connection, job: asyncpg.Record) -> WorkflowOrder:
    """The order that starts the job's next run."""
    argument, frozen = await argument_again(connection, job)
    capsule = InstalledCapsule(
        installation_id=job["installation_id"],
        capsule_id=job["capsule_id"],
        version=job["capsule_version"],
        status="installed",
        definition=frozen.definition,
        plan=frozen.plan,
        budget_tokens=job["budget_tokens"],
    )
    return order_for(argument, capsule, job["priority"], {}, retry=job["epoch"] > 0)

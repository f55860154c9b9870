"""Taking a job: checked, written and ordered in one statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import orjson

from somagent.adapters.postgres.database import TenantConnection
from somagent.domain.capsules.inputs import check_inputs
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.messages.jobs import JobArgument
from somagent.domain.messages.orders import WorkflowOrder
from somagent.domain.model import JsonObject
from somagent.domain.policy.law import Law
from somagent.domain.policy.scoring import Verdict
from somagent.services.audit.origin import ORIGIN
from somagent.services.installed import InstalledCapsule, current_capsule, forget_current
from somagent.services.jobs.requests import JobRequest
from somagent.services.jobs.store import encode
from somagent.services.jobs.verdicts import verdict_on_job
from somagent.services.kill_switch.admission import require_admitted
from somagent.services.starter import FIRST_LOOK, Recorded, argument_of

DEFAULT_BUDGET_TOKENS = 1_000_000
MAX_DEPTH = 8

_INSERT = """
WITH job AS (
  INSERT INTO jobs (id, tenant_id, task, capsule_id, capsule_version, environment, installation_id, inputs, attachments,
    priority, session_id, submitted_by, parent_job_id, parent_step_id, depth, budget_tokens, steps_total, deadline,
    workflow_id, created_at)
  SELECT $1, $2, 'capsule.run', $3, $4, $5, i.id, $7::text::jsonb, $8::text::jsonb, $9, $10::uuid, $11, $12::uuid, $13,
    $14, $15, $16, $17, $18, $19 FROM installations i WHERE i.id = $6 AND i.status = 'installed'
    AND NOT soma_stopped($2, $3, $22::text[])
  RETURNING id, tenant_id, submitted_by, capsule_id, capsule_version, environment, priority, budget_tokens,
    session_id, parent_job_id
), audited AS (
  INSERT INTO audit_intake (tenant_id, topic, actor, action, object, outcome, detail, request_id, trace_id)
  SELECT tenant_id, 'agent.audit', submitted_by, 'job.submitted', 'job:' || id, 'done',
    jsonb_strip_nulls(jsonb_build_object('capsule_id', capsule_id, 'version', capsule_version, 'environment',
      environment, 'priority', priority, 'budget_tokens', budget_tokens, 'session_id', session_id,
      'parent_job_id', parent_job_id, 'verdict', $25::text::jsonb)), $23, $24 FROM job
), ordered AS (
  INSERT INTO outbox (tenant_id, kind, key, payload, available_at)
  SELECT tenant_id, 'workflow.start', $18, $20::text::jsonb, now() + $21 FROM job WHERE $20 IS NOT NULL RETURNING id
)
SELECT (SELECT id FROM ordered) AS outbox_id FROM job
"""


@dataclass(frozen=True, slots=True)
class Parent:
    """The step that opens a child job."""

    job_id: str
    step_id: str
    depth: int


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that was taken."""

    job_id: str
    capsule: InstalledCapsule
    argument: JobArgument
    document: dict[str, object]
    recorded: Recorded | None
    verdict: Verdict | None
    """On its admission; None for a child, whose step was judged."""


async def submit(
    connection: TenantConnection,
    tenant_id: str,
    user_id: str,
    request: JobRequest,
    *,
    job_id: UUID | None = None,
    parent: Parent | None = None,
    law: Law | None = None,
) -> Submitted:
    """Take a job. A child's workflow is started by its parent's, so only other jobs are ordered.

    Args:
        law: what the job is judged by before it is taken; None where its verdict is in already.

    Raises:
        ActRefused: ``policy_refused``.
        SomaError: ``capsule_not_installed``, ``capsule_recalled``, ``input_invalid``, ``kill_switch_active``.
    """
    capsule, remembered = await _capsule(connection, tenant_id, request)
    taken = await _take(connection, capsule, tenant_id, user_id, request, job_id, parent, law)
    if taken is None and remembered:
        forget_current(tenant_id, request.capsule_id, request.version, request.environment)
        capsule, _ = await _capsule(connection, tenant_id, request)
        taken = await _take(connection, capsule, tenant_id, user_id, request, job_id, parent, law)
    if taken is None:
        raise _not_installed(request)
    return taken


async def _take(
    connection: TenantConnection,
    capsule: InstalledCapsule,
    tenant_id: str,
    user_id: str,
    request: JobRequest,
    job_id: UUID | None,
    parent: Parent | None,
    law: Law | None,
) -> Submitted | None:
    """Check and write; None when the installation is no longer in force."""
    inputs = check_inputs(capsule.definition, request.inputs)
    verdict = None if law is None else await verdict_on_job(tenant_id, capsule.definition, inputs, law)
    await _check_attachments(connection, request.attachments)
    identity = job_id or uuid4()
    created_at = datetime.now(UTC)
    argument = JobArgument(
        job_id=str(identity),
        tenant_id=tenant_id,
        plan=capsule.plan,
        deadline=_deadline(capsule, created_at),
        sees_steps_off=True,
    )
    budget = request.budget_tokens if request.budget_tokens is not None else capsule.budget_tokens
    budget = DEFAULT_BUDGET_TOKENS if budget is None else budget
    order = None if parent else order_for(argument, capsule, request.priority, inputs)
    workflow_id = f"job-{identity}"
    runs = (identity, parent.job_id if parent else None, request.session_id)
    row = await connection.fetchrow(
        _INSERT,
        identity,
        tenant_id,
        capsule.capsule_id,
        capsule.version,
        request.environment,
        capsule.installation_id,
        encode(inputs),
        orjson.dumps([str(attachment) for attachment in request.attachments]).decode(),
        request.priority,
        request.session_id,
        user_id,
        UUID(parent.job_id) if parent else None,
        parent.step_id if parent else None,
        parent.depth if parent else 0,
        budget,
        len(capsule.plan.steps),
        argument.deadline,
        workflow_id,
        created_at,
        order.model_dump_json(by_alias=True) if order else None,
        FIRST_LOOK,
        [str(run) for run in runs],
        *ORIGIN.get(),
        None if verdict is None else _brief(verdict),
    )
    if row is None:
        await require_admitted(connection, tenant_id, capsule.capsule_id, *runs)
        return None
    recorded = Recorded(row["outbox_id"], order) if order is not None else None
    document = _document(identity, capsule, request, created_at, workflow_id, budget, argument.deadline)
    return Submitted(str(identity), capsule, argument, document, recorded, verdict)


def _brief(verdict: Verdict) -> str:
    """What the audit keeps of a verdict that let a job in; its features follow from the constitution."""
    return verdict.model_dump_json(include={"score", "threshold", "severity", "policy", "constitution_hash"})


async def _capsule(connection: TenantConnection, tenant_id: str, request: JobRequest) -> tuple[InstalledCapsule, bool]:
    """The installed capsule that a request names, and whether it was remembered.

    Raises:
        SomaError: ``capsule_not_installed`` or ``capsule_recalled``.
    """
    capsule, remembered = await current_capsule(
        connection, tenant_id, request.capsule_id, request.version, request.environment
    )
    if capsule is None:
        raise _not_installed(request)
    if capsule.status != "installed":
        raise SomaError(
            Code.CAPSULE_RECALLED,
            f"The capsule {request.capsule_id} was recalled and takes no new jobs. Install another version.",
        )
    return capsule, remembered


def _not_installed(request: JobRequest) -> SomaError:
    wanted = request.capsule_id + (f" {request.version}" if request.version else "")
    return SomaError(
        Code.CAPSULE_NOT_INSTALLED,
        f"The capsule {wanted} is not installed in {request.environment!r}. "
        "Install it with POST /v1/installations first.",
    )


def order_for(
    argument: JobArgument, capsule: InstalledCapsule, priority: int, inputs: JsonObject, *, retry: bool = False
) -> WorkflowOrder:
    """The order that starts a job's workflow, with what an operator sees of it in the Temporal UI."""
    steps = " → ".join(f"`{step.id}`" for step in argument.plan.steps[:12])
    more = f" → … ({len(argument.plan.steps)} steps)" if len(argument.plan.steps) > 12 else ""
    return WorkflowOrder(
        tenant_id=argument.tenant_id,
        workflow="JobExecutionWorkflow",
        workflow_id=f"job-{argument.job_id}",
        argument=argument_of(argument),
        summary=f"{capsule.capsule_id}@{capsule.version} for {argument.tenant_id}"[:190],
        details=f"**{capsule.definition.summary}**\n\n{steps}{more}\n\nInputs: {', '.join(sorted(inputs)) or 'none'}",
        capsule=capsule.capsule_id,
        memo={"capsule": f"{capsule.capsule_id}@{capsule.version}", "epoch": str(argument.epoch)},
        priority=priority,
        may_run_again=retry,
    )


async def _check_attachments(connection: asyncpg.Connection, wanted: list[UUID]) -> None:
    if not wanted:
        return
    rows = await connection.fetch("SELECT id FROM attachments WHERE id = ANY($1::uuid[])", wanted)
    found = {row["id"] for row in rows}
    faults = [
        Fault(f"attachments[{position}]", "not_found", "there is no such attachment; POST /v1/attachments makes one")
        for position, attachment in enumerate(wanted)
        if attachment not in found
    ]
    if faults:
        raise SomaError(Code.INPUT_INVALID, "Some attachments do not exist.", errors=faults)


def _deadline(capsule: InstalledCapsule, created_at: datetime) -> datetime | None:
    seconds = capsule.definition.policies.max_duration_seconds
    return None if seconds is None else created_at + timedelta(seconds=seconds)


def _document(
    identity: UUID,
    capsule: InstalledCapsule,
    request: JobRequest,
    created_at: datetime,
    workflow_id: str,
    budget: int,
    deadline: datetime | None,
) -> dict[str, object]:
    return {
        "id": str(identity),
        "task": "capsule.run",
        "status": "queued",
        "capsule_id": capsule.capsule_id,
        "version": capsule.version,
        "environment": request.environment,
        "priority": request.priority,
        "progress": {"completed": 0, "total": len(capsule.plan.steps), "current": None},
        "budget_tokens": budget,
        "workflow_id": workflow_id,
        "run_id": None,
        "deadline": stamp(deadline) if deadline else None,
        "created_at": stamp(created_at),
        "started_at": None,
        "finished_at": None,
    }


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with six decimals, so that it sorts as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""Putting a step's question to people."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel

from somagent.adapters.postgres.database import TenantConnection
from somagent.domain.actions import Weight, action
from somagent.domain.actions.remote import RequestApprovalParams
from somagent.domain.errors import SomaError
from somagent.domain.messages.jobs import ApprovalOpened, ApprovalRequest, WorkArgument
from somagent.services.gate.gate import Gate
from somagent.services.jobs.approvals import Question, open_question, question_for
from somagent.services.jobs.preparation import is_skipped, prepare
from somagent.services.jobs.store import Settled, mark, settle
from somagent.services.jobs.work import Work, step_failed, take_up
from somagent.services.notifications import Channels, notify


async def ask(
    connection: TenantConnection, request: ApprovalRequest, run_id: str | None, channels: Channels, gate: Gate
) -> ApprovalOpened:
    """Open the approval of a step, once, in the caller's transaction; the job waits from now on.

    A step whose condition does not hold asks nobody.
    """
    argument = WorkArgument(
        job_id=request.job_id, tenant_id=request.tenant_id, epoch=request.epoch, steps=(request.step_id,)
    )
    work, result = await take_up(connection, argument, run_id, gate)
    if work is None:
        return ApprovalOpened(approval_id="", status="", outcome=result.outcome, failure=result.failure)
    if request.step_id in work.job.settled:
        return ApprovalOpened(approval_id="", status="approved")
    try:
        return await _ask(connection, work, request.step_id, channels)
    except SomaError as error:
        failed = await step_failed(connection, work, request.step_id, error, retryable=False)
        return ApprovalOpened(
            approval_id="",
            status="",
            outcome=failed.outcome,
            failure=failed.failure,
            retry_after_seconds=failed.retry_after_seconds,
        )


async def _ask(connection: TenantConnection, work: Work, step_id: str, channels: Channels) -> ApprovalOpened:
    step, job = work.steps[step_id], work.job
    only_asks = action(step.action).weight is Weight.WAIT
    if await is_skipped(step, job):
        if only_asks:
            row = Settled(step_id, step.action, "skipped", 1, None, started_at=datetime.now(UTC))
            await settle(connection, job.job_id, job.epoch, row)
        return ApprovalOpened(approval_id="", status="approved")
    await work.gate.watch.refresh()  # people decide on what is in force now, not a moment ago
    law = await work.law()
    prepared = await prepare(step, job, law)
    if isinstance(prepared.params, RequestApprovalParams):
        channels.check(prepared.params.channel)
    arguments = prepared.params.model_dump(mode="json", by_alias=True) if only_asks else prepared.arguments
    question = question_for(step, arguments, work.definition, law)
    approval_id, status = await open_question(connection, job, step, question)
    if status == "pending":
        await mark(connection, job.job_id, job.epoch, step_id, step.action, "waiting", job.attempt(step_id) - 1)
        await _tell_people(connection, work, step_id, approval_id, question, prepared.params)
    return ApprovalOpened(approval_id=approval_id, status=status)


async def _tell_people(
    connection: TenantConnection, work: Work, step_id: str, approval_id: str, question: Question, params: BaseModel
) -> None:
    channel, severity = ("web", "info")
    if isinstance(params, RequestApprovalParams):
        channel, severity = params.channel, params.severity
    await notify(
        connection,
        work.job.tenant_id,
        effect_key=f"approval:{approval_id}",
        channel=channel,
        message=f"Job {work.job.job_id} asks: {question.text}",
        severity=severity,
        job_id=work.job.job_id,
        step_id=step_id,
    )

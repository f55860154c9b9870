"""People's decisions on a job, each bound to the digest of what will run.

The vote, the decision it completes and, for a step that only asks, that step's output are one transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

import asyncpg
from pydantic import JsonValue

from somagent.adapters.postgres.database import TenantConnection
from somagent.domain.actions import Weight, action
from somagent.domain.capsules.definition import CapsuleDefinition, Step
from somagent.domain.errors import Code
from somagent.domain.messages.jobs import ApprovalDecision, ApprovalStanding, Failure
from somagent.domain.policy.law import Law
from somagent.services.audit.intake import Happening, take_in
from somagent.services.jobs.preparation import approval_digest
from somagent.services.jobs.store import JobState, Settled, encode, settle

_OPEN = """
INSERT INTO approvals (id, tenant_id, job_id, step_id, question, digest, what, quorum)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8) ON CONFLICT (id) DO NOTHING
"""
_VOTES = "SELECT user_id, decision FROM approval_votes WHERE approval_id = $1 ORDER BY created_at, user_id"


@dataclass(frozen=True, slots=True)
class Question:
    """What people are asked. ``what`` is shown to them; ``digest`` is what their vote is bound to."""

    text: str
    quorum: int
    digest: str
    what: dict[str, JsonValue]


def question_for(step: Step, arguments: JsonValue, definition: CapsuleDefinition, law: Law) -> Question:
    """The question of a step: its own where it asks one, else leave for its effect."""
    asks = action(step.action).weight is Weight.WAIT
    if asks and isinstance(arguments, dict):
        text, quorum = str(arguments["question"]), int(str(arguments.get("quorum", 1)))
    else:
        text, quorum = f"May step `{step.id}` run {step.action}?", definition.policies.approvals.quorum
    what: dict[str, JsonValue] = {
        "step": step.id,
        "action": step.action,
        "arguments": arguments,
        "capsule": f"{definition.id}@{definition.version}",
        "constitution_hash": law.constitution.content_hash,
    }
    return Question(text, quorum, approval_digest(step, arguments, definition, law.constitution.content_hash), what)


async def open_question(connection: TenantConnection, job: JobState, step: Step, question: Question) -> tuple[str, str]:
    """Put the question to people, once; the approval's id and how it stands."""
    approval_id = uuid5(UUID(job.job_id), f"{step.id}:{job.epoch}:{question.digest}")
    await connection.execute(
        _OPEN,
        approval_id,
        job.tenant_id,
        UUID(job.job_id),
        step.id,
        question.text,
        question.digest,
        encode(question.what),
        question.quorum,
    )
    status = await connection.fetchval("SELECT status FROM approvals WHERE id = $1", approval_id)
    return str(approval_id), str(status)


async def record_vote(connection: TenantConnection, decision: ApprovalDecision) -> ApprovalStanding:
    """Write one vote, in the caller's transaction. A repeat of the same vote changes nothing."""
    approval = await connection.fetchrow(
        "SELECT a.status, a.digest, a.quorum, a.step_id, a.created_at, a.what->>'action' AS action, j.submitted_by, "
        "a.what->>'constitution_hash' = (SELECT c.hash FROM constitutions c WHERE c.tenant_id IN (a.tenant_id, '') "
        "ORDER BY c.tenant_id DESC, c.version DESC LIMIT 1) AS current "
        "FROM approvals a JOIN jobs j ON j.id = a.job_id WHERE a.id = $1 AND a.job_id = $2 FOR UPDATE OF a",
        UUID(decision.approval_id),
        UUID(decision.job_id),
    )
    if approval is None:
        return _refused(decision, "pending", Code.NOT_FOUND, "There is no such approval.")
    if approval["submitted_by"] == decision.user_id:
        detail = "The submitter of a job cannot decide its approvals; another person has to."
        return _refused(decision, approval["status"], Code.SELF_APPROVAL_FORBIDDEN, detail)
    if approval["digest"] != decision.digest or (approval["status"] == "pending" and not approval["current"]):
        detail = "The digest is not that of what will run. Read the job again and decide on what it shows now."
        return _refused(decision, approval["status"], Code.APPROVAL_DIGEST_MISMATCH, detail)
    votes: Sequence[asyncpg.Record] = await connection.fetch(_VOTES, UUID(decision.approval_id))
    if any(vote["user_id"] == decision.user_id and vote["decision"] == decision.decision for vote in votes):
        return ApprovalStanding(approval_id=decision.approval_id, status=approval["status"])
    if approval["status"] != "pending":
        detail = f"The approval is {approval['status']} already."
        return _refused(decision, approval["status"], Code.APPROVAL_DECIDED, detail)
    if any(vote["user_id"] == decision.user_id for vote in votes):
        return _refused(decision, "pending", Code.ALREADY_VOTED, "You have voted on this approval already.")
    await connection.execute(
        "INSERT INTO approval_votes (approval_id, user_id, tenant_id, decision, reason) VALUES ($1, $2, $3, $4, $5)",
        UUID(decision.approval_id),
        decision.user_id,
        decision.tenant_id,
        decision.decision,
        decision.reason,
    )
    standing = await _count(connection, decision, approval)
    await take_in(connection, _voted(decision, approval, standing))
    return standing


async def _count(
    connection: TenantConnection, decision: ApprovalDecision, approval: asyncpg.Record
) -> ApprovalStanding:
    """One rejection rejects; as many approvals as the quorum approve."""
    votes = await connection.fetch(_VOTES, UUID(decision.approval_id))
    by = [vote["user_id"] for vote in votes if vote["decision"] == decision.decision]
    if decision.decision == "approve" and len(by) < approval["quorum"]:
        return ApprovalStanding(approval_id=decision.approval_id, status="pending")
    status = "approved" if decision.decision == "approve" else "rejected"
    await connection.execute(
        "UPDATE approvals SET status = $2, decided_at = clock_timestamp() WHERE id = $1",
        UUID(decision.approval_id),
        status,
    )
    if action(approval["action"]).weight is Weight.WAIT:
        output: JsonValue = {"decision": decision.decision, "by": list(by)}
        row = Settled(
            approval["step_id"], approval["action"], "completed", 1, output, started_at=approval["created_at"]
        )
        await settle(connection, decision.job_id, decision.epoch, row)
    else:
        await connection.execute(
            "UPDATE jobs SET status = CASE WHEN pause_requested THEN 'paused' ELSE 'running' END "
            "WHERE id = $1 AND status = 'waiting'",
            UUID(decision.job_id),
        )
    return ApprovalStanding(approval_id=decision.approval_id, status=status)


def _voted(decision: ApprovalDecision, approval: asyncpg.Record, standing: ApprovalStanding) -> Happening:
    return Happening(
        tenant_id=decision.tenant_id,
        actor=decision.user_id,
        action=f"approval.vote.{decision.decision}",
        object=f"approval:{decision.approval_id}",
        detail={
            "job_id": decision.job_id,
            "step_id": approval["step_id"],
            "action": approval["action"],
            "digest": decision.digest,
            "status": standing.status,
        },
    )


def _refused(decision: ApprovalDecision, status: str, code: Code, detail: str) -> ApprovalStanding:
    return ApprovalStanding(approval_id=decision.approval_id, status=status, failure=Failure(code=code, detail=detail))

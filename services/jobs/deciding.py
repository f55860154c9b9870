"""A person's vote on a waiting job, carried to its workflow as an update."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from temporalio.client import Client

from somagent.adapters.postgres.database import Database
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.jobs import ApprovalDecision, ApprovalStanding
from somagent.services.gate.gate import Gate
from somagent.services.jobs.renewal import renew_outdated
from somagent.services.updates import WorkflowGoneError, ask, update_id

_LOOK = """
SELECT a.status, a.digest, j.submitted_by, j.epoch, j.workflow_id, j.status AS job_status,
  (SELECT decision FROM approval_votes v WHERE v.approval_id = a.id AND v.user_id = $3) AS own_vote
FROM approvals a JOIN jobs j ON j.id = a.job_id WHERE a.id = $1 AND a.job_id = $2
"""


@dataclass(frozen=True, slots=True)
class Vote:
    """Who decides what, on which digest."""

    job_id: UUID
    approval_id: UUID
    tenant_id: str
    user_id: str
    decision: str
    digest: str
    reason: str | None
    key: str | None

    @property
    def update_id(self) -> str:
        """The same vote asked twice is one update."""
        return update_id(str(self.approval_id), self.user_id, self.key or self.decision, self.digest)


async def decide(database: Database, client: Client, gate: Gate, vote: Vote) -> None:
    """Vote; once this returns, Postgres holds the vote and what it decided.

    Raises:
        SomaError: ``not_found``, ``self_approval_forbidden``, ``approval_digest_mismatch``, ``approval_decided``,
            ``already_voted``, ``constitution_unverifiable``; ``decision_pending`` when the workflow did not answer in
            five seconds.
    """
    await _renew(database, gate, vote)
    async with database.connection(vote.tenant_id) as connection:
        row = await connection.fetchrow(_LOOK, vote.approval_id, vote.job_id, vote.user_id)
    if row is None:
        raise SomaError(Code.NOT_FOUND, "There is no such approval.")
    if row["submitted_by"] == vote.user_id:
        raise SomaError(
            Code.SELF_APPROVAL_FORBIDDEN, "The submitter of a job cannot decide its approvals; another person has to."
        )
    if row["digest"] != vote.digest:
        raise SomaError(
            Code.APPROVAL_DIGEST_MISMATCH,
            "The digest is not that of what will run. Read the job again and decide on what it shows now.",
        )
    if row["own_vote"] == vote.decision:
        return
    if row["status"] != "pending":
        raise SomaError(Code.APPROVAL_DECIDED, f"The approval is {row['status']} already.")
    standing = await _update(client, row["workflow_id"], row["epoch"], vote)
    if standing.failure is not None:
        if standing.failure.code == Code.APPROVAL_DIGEST_MISMATCH:
            await _renew(database, gate, vote)  # the constitution changed while the vote was on its way
        raise SomaError(Code(standing.failure.code), standing.failure.detail)


async def _renew(database: Database, gate: Gate, vote: Vote) -> None:
    """Show people what they decide on now, before anything is counted."""
    await gate.watch.refresh()
    in_force = (await gate.law(vote.tenant_id)).constitution.content_hash
    async with database.connection(vote.tenant_id) as connection:
        await renew_outdated(connection, vote.job_id, vote.approval_id, in_force)


async def _update(client: Client, workflow_id: str, epoch: int, vote: Vote) -> ApprovalStanding:
    decision = ApprovalDecision(
        job_id=str(vote.job_id),
        tenant_id=vote.tenant_id,
        epoch=epoch,
        approval_id=str(vote.approval_id),
        user_id=vote.user_id,
        decision=vote.decision,
        digest=vote.digest,
        reason=vote.reason,
    )
    try:
        return await ask(client, workflow_id, "decide", decision, vote.update_id, ApprovalStanding)
    except WorkflowGoneError as error:
        raise SomaError(Code.APPROVAL_DECIDED, "The job has ended; nothing waits for a decision.") from error

"""How constitutions, proposals and rehearsals look from outside."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

import orjson
from pydantic import Field, JsonValue

from somagent.adapters.postgres.tables import ConstitutionProposal, ConstitutionRow, ConstitutionVote
from somagent.domain.messages.constitution import ProposalFinding, ProposalStatus
from somagent.domain.model import JsonObject, Model
from somagent.domain.policy.rehearsal import Rehearsal
from somagent.domain.times import Timestamp
from somagent.services.constitution.bundles import Signature
from somagent.services.constitution.reading import Proposed
from somagent.services.gate.constitutions import EVERYBODY, InForce


class ConstitutionSummary(Model):
    """A version that is or was in force."""

    version: int
    hash: str = Field(description="Hex SHA-256 of the content's RFC 8785 canonical JSON")
    content: JsonValue
    signature: Signature
    signer_key_id: str
    inherited: bool = Field(description="Whether it is the deployment's own, in force where a tenant has none")
    proposal_id: UUID | None
    activated_at: Timestamp


class ConstitutionView(ConstitutionSummary):
    """What is in force for a tenant."""

    tenant_id: str
    verified: bool = Field(description="Where it is false everything governed is refused")
    problem: str | None = Field(description="Why it is not verified")


class HashView(Model):
    """What is in force, in short."""

    hash: str
    version: int


class BallotView(Model):
    """One person's vote."""

    voter: str
    decision: str
    reason: str | None
    created_at: Timestamp


class ProposalSummary(Model):
    """A proposal in a list."""

    id: UUID
    version: int
    hash: str
    status: ProposalStatus
    proposer: str
    quorum: int = Field(description="Distinct approvals that it takes; one rejection rejects")
    rollback_of: int | None = Field(description="The version whose content this is again")
    notes: str | None
    findings_ready: bool = Field(description="Whether votes are taken yet")
    deadline: Timestamp = Field(description="When it expires undecided")
    workflow_id: str
    created_at: Timestamp
    decided_at: Timestamp | None


class ProposalView(ProposalSummary):
    """A proposal with all that approvers read."""

    content: JsonObject
    signature: Signature
    signer_key_id: str
    findings: list[ProposalFinding]
    votes: list[BallotView]


class FlipView(Model):
    """A recorded decision that the proposed constitution would turn."""

    decision_id: str = Field(description="A decision's id, or `job:step`")
    source: str
    action: str | None
    was: str = Field(description="allowed or refused")
    would_be: str = Field(description="allowed or refused")
    score_then: float
    score_now: float
    threshold_then: float
    threshold_now: float
    decided_at: Timestamp


class RehearsalView(Model):
    """Recorded decisions, judged again."""

    proposal_id: UUID
    version: int
    decisions: int = Field(description="How many were judged again, the newest first")
    reproduced: int = Field(description="How many came out bit for bit under the constitution they were made under")
    unreproduced: list[str] = Field(description="Ids of those that did not, 100 at most")
    newly_refused: int
    newly_allowed: int
    flips: list[FlipView]


class BundleFault(Model):
    """One fault of a constitution."""

    path: str
    code: str
    detail: str


class ValidationView(Model):
    """Whether a constitution could be proposed, and what exactly is to be signed."""

    valid: bool
    hash: str | None
    canonical: str | None = Field(description="The RFC 8785 form of the content: the payload of the signature")
    errors: list[BundleFault]


def constitution_view(row: ConstitutionRow, tenant_id: str, standing: InForce) -> ConstitutionView:
    """The row in force, and whether the gate could verify it."""
    fields = constitution_summary(row).model_dump()
    return ConstitutionView(
        **fields, tenant_id=tenant_id, verified=standing.constitution is not None, problem=standing.why or None
    )


def constitution_summary(row: ConstitutionRow) -> ConstitutionSummary:
    """A version."""
    return ConstitutionSummary(
        version=row.version,
        hash=row.hash,
        content=row.content,
        signature=_signature(row.signature),
        signer_key_id=row.signer_key_id,
        inherited=row.tenant_id == EVERYBODY,
        proposal_id=row.proposal_id,
        activated_at=row.activated_at,
    )


def proposal_summary(row: ConstitutionProposal) -> ProposalSummary:
    """A proposal in a list."""
    names = ProposalSummary.model_fields.keys() - {"findings_ready"}
    return ProposalSummary(**{name: getattr(row, name) for name in names}, findings_ready=bool(row.findings))


def proposal_view(found: Proposed) -> ProposalView:
    """A proposal with its votes."""
    row = found.proposal
    return ProposalView(
        **proposal_summary(row).model_dump(),
        content=row.content,
        signature=_signature(row.signature),
        signer_key_id=row.signer_key_id,
        findings=list(found.findings),
        votes=[_ballot(vote) for vote in found.votes],
    )


def rehearsal_view(row: ConstitutionProposal, rehearsal: Rehearsal) -> RehearsalView:
    """What came of a rehearsal."""
    return RehearsalView(
        proposal_id=row.id,
        version=row.version,
        decisions=rehearsal.decisions,
        reproduced=rehearsal.reproduced,
        unreproduced=list(rehearsal.unreproduced[:100]),
        newly_refused=rehearsal.newly_refused,
        newly_allowed=len(rehearsal.flips) - rehearsal.newly_refused,
        flips=[FlipView(**flip.model_dump()) for flip in rehearsal.flips],
    )


def _ballot(vote: ConstitutionVote) -> BallotView:
    return BallotView(voter=vote.voter, decision=vote.decision, reason=vote.reason, created_at=vote.created_at)


def _signature(stored: str) -> Signature:
    """As it was handed in: the bare text, or the envelope. A row that was tampered with is shown as it is."""
    if not stored.lstrip().startswith("{"):
        return stored
    with suppress(orjson.JSONDecodeError):
        envelope: JsonObject = orjson.loads(stored)
        return envelope
    return stored

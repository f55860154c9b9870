"""What submitters do: hand in a capsule, replace it, withdraw it, look at it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import Field
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import ReviewVote, Submission, Tenant
from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.orders import SignalOrder, WorkflowOrder
from somagent.domain.messages.review import (
    REVIEW_PERIOD,
    REVIEW_WORKFLOW,
    SUBMISSION_CHANGED,
    SubmissionChange,
    SubmissionStatus,
)
from somagent.domain.messages.review_state import ReviewState, submission_decided
from somagent.domain.model import JsonObject, Model
from somagent.domain.names import TENANT_PATTERN
from somagent.services.capsules.attestation import Attested, attest
from somagent.services.capsules.reading import submission_of
from somagent.services.capsules.records import account_for
from somagent.services.starter import Recorded, argument_of, record

GLOBAL = "global"
OWN_TENANT = "tenant"

Text = Annotated[str, Field(min_length=1, max_length=2000)]
Signature = Annotated[str, Field(min_length=1)] | JsonObject


class NewSubmission(Model):
    """A capsule handed in for review.

    Attributes:
        owner: a label: the team or person that answers for the capsule.
        attestation_hash: hex SHA-256 of the RFC 8785 canonical JSON of ``definition``.
        attestation_signature: DSSE with Ed25519 over the canonical definition: the envelope, or the bare signature.
        tenant_scope: ``global``, or the one tenant that may install it; ``tenant`` is the submitter's own.
    """

    capsule_id: Annotated[str, Field(min_length=1, max_length=200)]
    version: Annotated[str, Field(min_length=1, max_length=128)]
    owner: Annotated[str, Field(min_length=1, max_length=200)]
    summary: Text
    definition: JsonObject
    attestation_hash: Annotated[str, Field(min_length=1, max_length=128)]
    attestation_signature: Signature | None = None
    signer_key_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    tenant_scope: Annotated[str, Field(pattern=TENANT_PATTERN)] = GLOBAL


class Replacement(Model):
    """A submission's new content; id and version stay."""

    definition: JsonObject
    attestation_hash: Annotated[str, Field(min_length=1, max_length=128)]
    attestation_signature: Signature | None = None
    signer_key_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    owner: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    summary: Text | None = None
    tenant_scope: Annotated[str, Field(pattern=TENANT_PATTERN)] | None = None
    capsule_id: str | None = None
    version: str | None = None


async def submit(
    session: AsyncSession, folder: CapsulesFolder, caller: Caller, new: NewSubmission
) -> tuple[Submission, Recorded]:
    """Take a capsule in, and order its review.

    Raises:
        SomaError: ``capsule_invalid``, ``attestation_mismatch``, ``signing_key_unknown``, ``signature_invalid`` or
            ``submission_exists``; in this order.
    """
    attested = await attest(
        session,
        caller.tenant_id,
        new.definition,
        new.attestation_hash,
        new.attestation_signature,
        new.signer_key_id,
        capsule_id=new.capsule_id,
        version=new.version,
    )
    if folder.find(new.capsule_id, new.version) is not None:
        raise _exists(new.capsule_id, new.version)
    submission_id = uuid4()
    quorum = await session.scalar(select(Tenant.review_quorum).where(Tenant.id == caller.tenant_id))
    row = Submission(
        id=submission_id,
        tenant_id=caller.tenant_id,
        capsule_id=new.capsule_id,
        version=new.version,
        owner=new.owner,
        summary=new.summary,
        tenant_scope=_scope(caller, new.tenant_scope),
        submitter=caller.user_id,
        quorum=quorum or 1,
        deadline=datetime.now(UTC) + REVIEW_PERIOD,
        workflow_id=f"review-{submission_id}",
        **_content(attested),
    )
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise _exists(new.capsule_id, new.version) from error
    await session.refresh(row)
    await _account_for(session, caller, "capsule.submitted", row)
    return row, await record(await raw_connection(session), _review_order(row))


async def replace(
    session: AsyncSession, caller: Caller, submission_id: UUID, new: Replacement
) -> tuple[Submission, Recorded]:
    """Replace a pending submission's content: a new revision, new findings, a new deadline, no votes.

    Raises:
        SomaError: as :func:`submit`, and ``not_found``, ``not_the_submitter``, ``submission_decided``.
    """
    row = await _own_pending(session, caller, submission_id)
    attested = await attest(
        session,
        caller.tenant_id,
        new.definition,
        new.attestation_hash,
        new.attestation_signature,
        new.signer_key_id,
        capsule_id=row.capsule_id,
        version=row.version,
    )
    for name, value in _content(attested).items():
        setattr(row, name, value)
    row.owner = new.owner or row.owner
    row.summary = new.summary or row.summary
    if new.tenant_scope is not None:
        row.tenant_scope = _scope(caller, new.tenant_scope)
    row.revision += 1
    row.findings = []
    row.findings_ready = False
    row.deadline = datetime.now(UTC) + REVIEW_PERIOD
    row.updated_at = datetime.now(UTC)
    await session.execute(delete(ReviewVote).where(ReviewVote.submission_id == row.id))
    try:
        await session.flush()
    except IntegrityError as error:  # its scope became global, where somebody else has this version
        raise _exists(row.capsule_id, row.version) from error
    await _account_for(session, caller, "capsule.submission.replaced", row)
    return row, await _signal(session, row)


async def withdraw(session: AsyncSession, caller: Caller, submission_id: UUID) -> tuple[Submission, Recorded]:
    """Take a pending submission back.

    Raises:
        SomaError: ``not_found``, ``not_the_submitter``, ``submission_decided``.
    """
    row = await _own_pending(session, caller, submission_id)
    row.status = SubmissionStatus.WITHDRAWN.value
    row.decided_at = row.updated_at = datetime.now(UTC)
    await session.flush()
    await _account_for(session, caller, "capsule.submission.withdrawn", row)
    return row, await _signal(session, row)


def _scope(caller: Caller, wanted: str) -> str:
    """``tenant`` is the submitter's own."""
    return caller.tenant_id if wanted == OWN_TENANT else wanted


async def _own_pending(session: AsyncSession, caller: Caller, submission_id: UUID) -> Submission:
    row = await submission_of(session, caller.tenant_id, submission_id, lock=True)
    if row.submitter != caller.user_id:
        raise SomaError(Code.NOT_THE_SUBMITTER, "Only the submitter may replace or withdraw a submission.")
    if row.status != SubmissionStatus.PENDING:
        raise submission_decided(row.status)
    return row


def _content(attested: Attested) -> dict[str, object]:
    return {
        "type": attested.definition.type,
        "definition": attested.document,
        "attestation_hash": attested.attestation_hash,
        "attestation_signature": attested.signature,
        "signer_key_id": attested.signer_key_id,
    }


def _review_order(row: Submission) -> WorkflowOrder:
    state = ReviewState(
        submission_id=str(row.id),
        tenant_id=row.tenant_id,
        capsule_id=row.capsule_id,
        version=row.version,
        submitter=row.submitter,
        deadline=row.deadline,
        quorum=row.quorum,
    )
    details = (
        f"**{row.capsule_id}** {row.version} · {row.type} · scope {row.tenant_scope}\n\n"
        f"Submitted by `{row.submitter}`; needs {row.quorum} of the reviewers."
    )
    return WorkflowOrder(
        tenant_id=row.tenant_id,
        workflow=REVIEW_WORKFLOW,
        workflow_id=row.workflow_id,
        argument=argument_of(state),
        summary=f"Review of {row.capsule_id} {row.version}",
        details=details,
        status=SubmissionStatus.PENDING.value,
        capsule=row.capsule_id,
        memo={"submission_id": str(row.id), "submitter": row.submitter},
    )


async def _signal(session: AsyncSession, row: Submission) -> Recorded:
    change = SubmissionChange(status=SubmissionStatus(row.status), revision=row.revision, deadline=row.deadline)
    order = SignalOrder(
        tenant_id=row.tenant_id,
        workflow_id=row.workflow_id,
        signal=SUBMISSION_CHANGED,
        argument=argument_of(change),
    )
    return await record(await raw_connection(session), order)


async def _account_for(session: AsyncSession, caller: Caller, kind: str, row: Submission) -> None:
    await account_for(session, row.tenant_id, caller.user_id, kind, f"submission:{row.id}", _named(row))


def _named(row: Submission) -> JsonObject:
    return {
        "submission_id": str(row.id),
        "capsule_id": row.capsule_id,
        "version": row.version,
        "revision": row.revision,
        "submitter": row.submitter,
        "attestation_hash": row.attestation_hash,
    }


def _exists(capsule_id: str, version: str) -> SomaError:
    return SomaError(
        Code.SUBMISSION_EXISTS,
        f"{capsule_id} {version} was submitted already. Submit a higher version, or replace the pending submission.",
    )

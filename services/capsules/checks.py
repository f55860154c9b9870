"""The automated checks of a review, on the definition as Postgres has it."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.postgres.tables import Installation, Submission, Tenant
from somagent.domain.capsules.findings import BLOCKING, Subject, findings
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.review import Check, CheckReport, ReviewFinding, SubmissionRef
from somagent.services.capsules.attestation import check_signature, restored
from somagent.services.capsules.reading import submission_of
from somagent.services.capsules.releases import visible

log = structlog.get_logger(__name__)

MOST_FINDINGS = 100
"""A check's findings travel through Temporal; past this many, more would not help a reviewer."""
LONGEST_DETAIL = 600


@dataclass(frozen=True, slots=True)
class Examined:
    """What a check looks at: a revision's content, and what is wrong with its signature."""

    revision: int
    subject: Subject
    signature_fault: str | None = None


async def load(session: AsyncSession, folder: CapsulesFolder, ref: SubmissionRef) -> Examined:
    """The submission as it stands, with what its tenant allows and knows; raises ``not_found``."""
    row = await submission_of(session, ref.tenant_id, UUID(ref.submission_id))
    document = restored(row.definition)
    fault = None
    if row.attestation_signature is not None:
        try:
            await check_signature(session, row.tenant_id, document, row.attestation_signature, row.signer_key_id or "")
        except SomaError as error:
            if error.code not in (Code.SIGNATURE_INVALID, Code.SIGNING_KEY_UNKNOWN):
                raise
            fault = error.detail
    settings = (await session.scalars(select(Tenant.settings).where(Tenant.id == row.tenant_id))).one()
    allowed = settings.get("allowed_adapters")
    subject = Subject(
        document=document,
        attestation_hash=row.attestation_hash,
        signed_by=row.signer_key_id if fault is None else None,
        allowed_adapters=None if allowed is None else frozenset(allowed),
        known_capsules=await _known(session, folder, row),
    )
    return Examined(row.revision, subject, fault)


def run(examined: Examined, check: Check) -> CheckReport:
    """What one check finds, within what Temporal carries.

    A check that fails on a definition fails on it every time: reviewers are told, instead of waiting for ever.
    """
    try:
        found = findings(check, examined.subject)
    except Exception as error:
        log.exception("check_failed", check=check.value)
        found = (_failed(check, error),)
    if check is Check.ATTESTATION and examined.signature_fault is not None:
        fault = ReviewFinding(
            check=check.value,
            severity=BLOCKING,
            code=Code.SIGNATURE_INVALID.value,
            detail=examined.signature_fault,
            path="attestation_signature",
        )
        found = (fault, *(finding for finding in found if finding.code != "unsigned"))
    kept = sorted(found, key=lambda finding: finding.severity != BLOCKING)[:MOST_FINDINGS]
    short = tuple(finding.model_copy(update={"detail": finding.detail[:LONGEST_DETAIL]}) for finding in kept)
    return CheckReport(revision=examined.revision, findings=short)


def _failed(check: Check, error: Exception) -> ReviewFinding:
    return ReviewFinding(
        check=check.value,
        severity=BLOCKING,
        code="check_failed",
        detail=f"The check broke on this definition ({type(error).__name__}); nothing is known of what it looks for.",
    )


async def _known(session: AsyncSession, folder: CapsulesFolder, row: Submission) -> frozenset[str]:
    approved = visible(row.tenant_id).with_only_columns(Submission.capsule_id)
    installed = select(Installation.capsule_id).where(Installation.tenant_id == row.tenant_id)
    rows = await session.scalars(approved.union(installed))
    return frozenset({*rows, *(capsule.definition.id for capsule in folder.all())})

"""The steps of an installation and what undoes them: one transaction each, and the same again when repeated."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.postgres.tables import Installation, Submission, Tenant
from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.installation import InstallationFailure, InstallationRef, InstallationStatus
from somagent.domain.messages.review import SubmissionStatus
from somagent.domain.model import JsonObject
from somagent.services.capsules.attestation import check_hash, check_signature, restored
from somagent.services.capsules.holdings import lock_version, restore_budget
from somagent.services.capsules.installations import active_installation, installation_of, is_sound, named
from somagent.services.capsules.records import account_for, notify
from somagent.services.capsules.releases import FILESYSTEM, recalled_error
from somagent.services.capsules.submissions import GLOBAL


async def load(session: AsyncSession, ref: InstallationRef, *, lock: bool = False) -> Installation:
    """The installation; raises ``not_found``."""
    return await installation_of(session, ref.tenant_id, UUID(ref.installation_id), lock=lock)


async def verify_attestation(system: AsyncSession, folder: CapsulesFolder, row: Installation) -> None:
    """The frozen definition is what was approved, its hash and signature still hold, and nothing was recalled.

    Args:
        system: sees every tenant: the publisher's signing keys are not the installer's.

    Raises:
        SomaError: ``attestation_mismatch``, ``signature_invalid``, ``signing_key_unknown``, ``capsule_not_approved``,
            ``capsule_recalled``.
    """
    document = restored(row.definition)
    check_hash(document, row.attestation_hash)
    if row.source == FILESYSTEM:
        shipped = folder.find(row.capsule_id, row.version)
        if shipped is None or shipped.attestation_hash != row.attestation_hash:
            raise SomaError(
                Code.ATTESTATION_MISMATCH,
                f"{row.capsule_id} {row.version} in the capsules folder is not what was asked for. Install it again.",
            )
        return
    submission = await system.get(Submission, row.submission_id)
    if submission is None or submission.status != SubmissionStatus.APPROVED:
        if submission is not None and submission.status == SubmissionStatus.RECALLED:
            raise recalled_error(row.capsule_id, row.version)
        raise SomaError(Code.CAPSULE_NOT_APPROVED, f"{row.capsule_id} {row.version} is not approved any more.")
    check_hash(restored(submission.definition), row.attestation_hash)
    if submission.attestation_signature is not None:
        await check_signature(
            system,
            submission.tenant_id,
            document,
            submission.attestation_signature,
            submission.signer_key_id or "",
        )


async def check_scope(system: AsyncSession, row: Installation) -> None:
    """The capsule is meant for this tenant.

    Raises:
        SomaError: ``tenant_scope_mismatch``.
    """
    if row.submission_id is None:
        return
    scope = await system.scalar(select(Submission.tenant_scope).where(Submission.id == row.submission_id))
    if scope not in (GLOBAL, row.tenant_id):
        raise SomaError(
            Code.TENANT_SCOPE_MISMATCH, f"{row.capsule_id} {row.version} is not meant for this tenant any more."
        )


async def check_tools(session: AsyncSession, row: Installation) -> None:
    """The tenant allows every adapter that the capsule declares; without a list of its own it allows all.

    Raises:
        SomaError: ``tool_not_allowed``, naming them.
    """
    settings = (await session.scalars(select(Tenant.settings).where(Tenant.id == row.tenant_id))).one()
    allowed = settings.get("allowed_adapters")
    if allowed is None:
        return
    definition = CapsuleDefinition.model_validate(row.definition)
    refused = sorted({tool.adapter for tool in definition.tools} - set(allowed))
    if refused:
        raise SomaError(
            Code.TOOL_NOT_ALLOWED,
            f"The tenant does not allow {', '.join(refused)}, which {row.capsule_id} {row.version} uses.",
        )


async def activate(session: AsyncSession, row: Installation) -> None:
    """Make ``row`` the version in force and what was in force superseded, unless it was recalled meanwhile.

    Raises:
        SomaError: ``capsule_recalled``.
    """
    if row.status == InstallationStatus.INSTALLED:
        return
    await lock_version(session, row.capsule_id, row.version)
    if not await is_sound(session, row):
        raise recalled_error(row.capsule_id, row.version)
    before = await active_installation(session, row.capsule_id, row.environment, lock=True)
    row.previous_id = None if before is None else before.id
    if before is not None:
        before.status = InstallationStatus.SUPERSEDED.value
        await session.flush()  # first: one active installation a capsule and environment
    row.status = InstallationStatus.INSTALLED.value
    row.finished_at = datetime.now(UTC)
    await account_for(
        session, row.tenant_id, row.installed_by, "capsule.installed", f"installation:{row.id}", named(row)
    )
    await notify(
        session,
        row.tenant_id,
        f"install-{row.id}:installed",
        f"{row.capsule_id} {row.version} is installed in {row.environment}.",
        user_id=row.installed_by,
    )


async def deactivate(session: AsyncSession, row: Installation) -> None:
    """Undo :func:`activate`, where it took effect."""
    if row.status != InstallationStatus.INSTALLED:
        return
    row.status = InstallationStatus.INSTALLING.value
    await session.flush()
    before = None if row.previous_id is None else await session.get(Installation, row.previous_id)
    if before is not None and before.status == InstallationStatus.SUPERSEDED:
        sound = await is_sound(session, before)
        before.status = (InstallationStatus.INSTALLED if sound else InstallationStatus.QUARANTINED).value


async def undo_budget(session: AsyncSession, row: Installation) -> None:
    """Give the budget row back to the version in force, or delete it."""
    await restore_budget(session, row, await active_installation(session, row.capsule_id, row.environment))


async def fail(session: AsyncSession, row: Installation, failure: InstallationFailure) -> None:
    """Say that the installation failed, and why."""
    if row.status != InstallationStatus.INSTALLING:
        return
    row.status = InstallationStatus.FAILED.value
    row.error = failure.model_dump(mode="json", exclude_none=True)
    row.finished_at = datetime.now(UTC)
    data: JsonObject = {**named(row), "code": failure.code}
    kind = "capsule.installation.failed"
    await account_for(session, row.tenant_id, row.installed_by, kind, f"installation:{row.id}", data, outcome="failed")
    await notify(
        session,
        row.tenant_id,
        f"install-{row.id}:failed",
        f"{row.capsule_id} {row.version} could not be installed: {failure.detail}",
        severity="error",
        user_id=row.installed_by,
    )

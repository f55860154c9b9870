"""What people do with installations: ask for one, upgrade, roll back, uninstall, look."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import AfterValidator, Field
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import Installation, Submission
from somagent.domain.caller import Caller
from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.capsules.planning import build_plan
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.installation import INSTALLATION_WORKFLOW, InstallationState, InstallationStatus
from somagent.domain.messages.orders import WorkflowOrder
from somagent.domain.messages.review import SubmissionStatus
from somagent.domain.model import JsonObject, Model
from somagent.domain.versions import is_version
from somagent.services.capsules.attestation import check_hash, restored
from somagent.services.capsules.holdings import lock_version, put_budget_back, release_namespaces, unset_budget
from somagent.services.capsules.records import account_for
from somagent.services.capsules.releases import Release, recalled_of_folder, release_to_install
from somagent.services.starter import Recorded, argument_of, record

_ACTIVE = (InstallationStatus.INSTALLED.value, InstallationStatus.QUARANTINED.value)


def _a_version(text: str) -> str:
    if not is_version(text):
        raise ValueError("write a semantic version such as 1.2.3")
    return text


Version = Annotated[str, Field(max_length=128), AfterValidator(_a_version)]
Environment = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class NewInstallation(Model):
    """A capsule to be installed; without ``version`` the newest approved."""

    capsule_id: Annotated[str, Field(min_length=1, max_length=200)]
    version: Version | None = None
    environment: Environment = "prod"
    notes: Annotated[str, Field(max_length=4000)] | None = None


class Upgrade(Model):
    """The version to go to; the newest approved when absent."""

    version: Version | None = None


async def install(
    session: AsyncSession, folder: CapsulesFolder, caller: Caller, new: NewInstallation
) -> tuple[Installation, Recorded]:
    """Take an installation in, and order it.

    Raises:
        SomaError: ``capsule_not_approved``, ``capsule_recalled``, ``already_installed``.
    """
    release = await release_to_install(session, caller.tenant_id, folder, new.capsule_id, new.version)
    active = await active_installation(session, new.capsule_id, new.environment)
    if active is not None and active.version == release.version and active.status == InstallationStatus.INSTALLED:
        raise _already(release, new.environment, "is installed")
    row = new_row(release, caller.tenant_id, new.environment, caller.user_id)
    row.notes = new.notes
    row.previous_id = None if active is None else active.id
    row.workflow_id = f"install-{row.id}"
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise _already(release, new.environment, "is being installed") from error
    await session.refresh(row)
    await _account_for(session, caller, "capsule.installation.requested", row, named(row))
    return row, await record(await raw_connection(session), _order(row))


async def upgrade(
    session: AsyncSession, folder: CapsulesFolder, caller: Caller, installation_id: UUID, wanted: Upgrade
) -> tuple[Installation, Recorded]:
    """Install another version in the place of an active installation.

    Raises:
        SomaError: ``not_found``, ``installation_not_active``, and as :func:`install`.
    """
    row = await _active_one(session, caller.tenant_id, installation_id)
    new = NewInstallation(capsule_id=row.capsule_id, version=wanted.version, environment=row.environment)
    return await install(session, folder, caller, new)


async def roll_back(session: AsyncSession, caller: Caller, installation_id: UUID) -> Installation:
    """Put the version installed before back in force, and give its installation.

    Versions recalled meanwhile are passed over.

    Raises:
        SomaError: ``not_found``, ``installation_not_active``, ``no_previous_version``.
    """
    row = await _active_one(session, caller.tenant_id, installation_id)
    previous = await _previous(session, row)
    await lock_version(session, previous.capsule_id, previous.version)
    await session.refresh(previous, with_for_update=True)
    if not await is_sound(session, previous):
        raise _no_previous(row)
    check_hash(restored(previous.definition), previous.attestation_hash)
    row.status = InstallationStatus.ROLLED_BACK.value
    await session.flush()  # first: one active installation a capsule and environment
    previous.status = InstallationStatus.INSTALLED.value
    await put_budget_back(session, previous)
    await _account_for(session, caller, "capsule.rolled_back", row, {**named(row), "to_version": previous.version})
    return previous


async def uninstall(session: AsyncSession, caller: Caller, installation_id: UUID) -> Installation:
    """Take a capsule out of force. What it remembered stays; its namespace goes when nothing is in it.

    Raises:
        SomaError: ``not_found``, ``installation_not_active``.
    """
    row = await _active_one(session, caller.tenant_id, installation_id)
    row.status = InstallationStatus.UNINSTALLED.value
    await unset_budget(session, row)
    await release_namespaces(session, row)
    await _account_for(session, caller, "capsule.uninstalled", row, named(row))
    return row


async def installation_of(
    session: AsyncSession, tenant_id: str, installation_id: UUID, *, lock: bool = False
) -> Installation:
    """A tenant's installation.

    Raises:
        SomaError: ``not_found``.
    """
    query = select(Installation).where(Installation.id == installation_id, Installation.tenant_id == tenant_id)
    row = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise SomaError(Code.NOT_FOUND, f"There is no installation {installation_id}.")
    return row


async def active_installation(
    session: AsyncSession, capsule_id: str, environment: str, *, lock: bool = False
) -> Installation | None:
    """The session's tenant's installation in force, a quarantined one included."""
    query = select(Installation).where(
        Installation.capsule_id == capsule_id,
        Installation.environment == environment,
        Installation.status.in_(_ACTIVE),
    )
    return (await session.scalars(query.with_for_update() if lock else query)).one_or_none()


async def is_sound(session: AsyncSession, row: Installation) -> bool:
    """Whether a version installed once may be in force again: it was not recalled."""
    if row.submission_id is None:
        return (row.capsule_id, row.version) not in await recalled_of_folder(session)
    status = await session.scalar(select(Submission.status).where(Submission.id == row.submission_id))
    return status == SubmissionStatus.APPROVED


def new_row(release: Release, tenant_id: str, environment: str, installed_by: str) -> Installation:
    """An installation of ``release`` that has just begun, with its definition frozen in it."""
    plan = build_plan(CapsuleDefinition.model_validate(release.document))
    return Installation(
        id=uuid4(),
        tenant_id=tenant_id,
        capsule_id=release.capsule_id,
        version=release.version,
        environment=environment,
        source=release.source,
        submission_id=release.submission_id,
        attestation_hash=release.attestation_hash,
        definition=release.document,
        steps=[{"id": step.id, "action": step.action} for step in plan.steps],
        status=InstallationStatus.INSTALLING.value,
        installed_by=installed_by,
        created_at=datetime.now(UTC),
    )


def named(row: Installation) -> JsonObject:
    """What events say of an installation."""
    return {
        "installation_id": str(row.id),
        "capsule_id": row.capsule_id,
        "version": row.version,
        "environment": row.environment,
        "status": row.status,
    }


async def _account_for(session: AsyncSession, caller: Caller, kind: str, row: Installation, data: JsonObject) -> None:
    await account_for(session, row.tenant_id, caller.user_id, kind, f"installation:{row.id}", data)


async def _active_one(session: AsyncSession, tenant_id: str, installation_id: UUID) -> Installation:
    row = await installation_of(session, tenant_id, installation_id, lock=True)
    if row.status not in _ACTIVE:
        raise SomaError(
            Code.INSTALLATION_NOT_ACTIVE,
            f"The installation is {row.status}. Only an installed or quarantined one can be changed.",
        )
    # A version under way has taken over namespace and budget; whatever is changed now, it would change again.
    successor = select(Installation.version).where(
        Installation.capsule_id == row.capsule_id,
        Installation.environment == row.environment,
        Installation.status == InstallationStatus.INSTALLING.value,
    )
    version = await session.scalar(successor)
    if version is not None:
        raise SomaError(
            Code.INSTALLATION_NOT_ACTIVE,
            f"{row.capsule_id} {version} is being installed in {row.environment}. Wait until that has ended.",
            retry_after=1,
        )
    return row


async def _previous(session: AsyncSession, row: Installation) -> Installation:
    """The nearest earlier installation that was in force and is sound."""
    following = row.previous_id
    while following is not None:
        earlier = await session.get(Installation, following)
        if earlier is None:
            break
        if earlier.status == InstallationStatus.SUPERSEDED and await is_sound(session, earlier):
            return earlier
        following = earlier.previous_id
    raise _no_previous(row)


def _no_previous(row: Installation) -> SomaError:
    return SomaError(
        Code.NO_PREVIOUS_VERSION, f"No sound version of {row.capsule_id} was in force here before {row.version}."
    )


def _already(release: Release, environment: str, how: str) -> SomaError:
    return SomaError(Code.ALREADY_INSTALLED, f"{release.capsule_id} {release.version} {how} in {environment} already.")


def _order(row: Installation) -> WorkflowOrder:
    state = InstallationState(
        installation_id=str(row.id),
        tenant_id=row.tenant_id,
        capsule_id=row.capsule_id,
        version=row.version,
        environment=row.environment,
    )
    return WorkflowOrder(
        tenant_id=row.tenant_id,
        workflow=INSTALLATION_WORKFLOW,
        workflow_id=str(row.workflow_id),
        argument=argument_of(state),
        summary=f"Install {row.capsule_id} {row.version} in {row.environment}",
        details=f"**{row.capsule_id}** {row.version} from the {row.source}\n\nAsked for by `{row.installed_by}`.",
        status=row.status,
        capsule=row.capsule_id,
        memo={"installation_id": str(row.id), "installed_by": row.installed_by},
    )

"""What proposers do: propose a constitution, propose an old one again, withdraw."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from pydantic import Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.database import raw_connection
from somagent.adapters.postgres.tables import ConstitutionProposal, Tenant
from somagent.domain.caller import Caller
from somagent.domain.canonical import canonical_bytes
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.messages.constitution import (
    CONSTITUTION_WORKFLOW,
    DEFAULT_QUORUM,
    LARGEST_QUORUM,
    PROPOSAL_CLOSED,
    QUORUM_SETTING,
    VOTING_PERIOD,
    ProposalClosed,
    ProposalStatus,
)
from somagent.domain.messages.constitution_state import ProposalState, proposal_decided
from somagent.domain.messages.orders import SignalOrder, WorkflowOrder
from somagent.domain.model import JsonObject, Model
from somagent.domain.policy.bundles import CONSTITUTION_PAYLOAD_TYPE
from somagent.domain.policy.constitution import HIGHEST_VERSION, parse_constitution
from somagent.services.audit.intake import by, take_in
from somagent.services.constitution.bundles import Bundle, checked_bundle
from somagent.services.constitution.reading import in_force, proposal_of, version_of
from somagent.services.starter import Recorded, argument_of, record

SignatureText = Annotated[str, Field(min_length=1, max_length=20_000)]
KeyId = Annotated[str, Field(min_length=1, max_length=200)]
Notes = Annotated[str, Field(max_length=4000)]
Version = Annotated[int, Field(ge=1, le=HIGHEST_VERSION, strict=True)]


class NewProposal(Model):
    """A constitution handed in for decision.

    Attributes:
        content: version, threshold, production_threshold and weights; every field is given.
        signature: DSSE with Ed25519 over the canonical content (RFC 8785), payload type
            ``application/vnd.somagent.constitution+json``: the envelope, or the bare signature of its encoding.
        signer_key_id: a key registered under ``/v1/signing-keys``.
    """

    content: JsonObject
    signature: SignatureText | JsonObject | None = None
    signer_key_id: KeyId | None = None
    notes: Notes | None = None


class NewRollback(Model):
    """A version that was in force, to come into force again under a new number.

    Attributes:
        to_version: the version to go back to.
        version: the new number; one above that in force when absent.
        signature: over the old content with the new number. Left out, the answer shows what to sign.
    """

    to_version: Version
    version: Version | None = None
    signature: SignatureText | JsonObject | None = None
    signer_key_id: KeyId | None = None
    notes: Notes | None = None


async def propose(
    session: AsyncSession, caller: Caller, new: NewProposal, *, rollback_of: int | None = None
) -> tuple[ConstitutionProposal, Recorded]:
    """Take a proposal, with the order that starts its workflow.

    Raises:
        SomaError: ``constitution_invalid`` with every fault, ``signing_key_unknown``, ``signature_invalid``,
            ``constitution_version_not_rising``.
    """
    bundle = await checked_bundle(session, caller.tenant_id, new.content, new.signature, new.signer_key_id)
    newest = await in_force(session, caller.tenant_id)
    if bundle.constitution.version <= newest.version:
        raise SomaError(
            Code.CONSTITUTION_VERSION_NOT_RISING,
            f"Version {newest.version} is in force; only a higher one can follow, not {bundle.constitution.version}. "
            "To go back use POST /v1/constitution/rollback, which gives the old content a new number.",
        )
    row = await _insert(session, caller, bundle, new.notes, rollback_of)
    detail: JsonObject = {"version": row.version, "hash": row.hash, "quorum": row.quorum, "rollback_of": rollback_of}
    connection = await raw_connection(session)
    await take_in(connection, by(caller, "constitution.proposed", f"constitution_proposal:{row.id}", detail=detail))
    return row, await record(connection, _order(row))


async def roll_back(session: AsyncSession, caller: Caller, new: NewRollback) -> tuple[ConstitutionProposal, Recorded]:
    """Propose the content of an older version under a new number.

    Raises:
        SomaError: as :func:`propose`; ``not_found`` for a version that there was not; without a signature
            ``constitution_invalid``, which shows the canonical content to be signed.
    """
    old = await version_of(session, caller.tenant_id, new.to_version)
    newest = await in_force(session, caller.tenant_id)
    content: JsonObject = {**parse_constitution(old.content).model_dump(mode="json")}
    content["version"] = newest.version + 1 if new.version is None else new.version
    if new.signature is None or new.signer_key_id is None:
        raise _to_be_signed(content, new)
    return await propose(
        session,
        caller,
        NewProposal(content=content, signature=new.signature, signer_key_id=new.signer_key_id, notes=new.notes),
        rollback_of=new.to_version,
    )


async def withdraw(session: AsyncSession, caller: Caller, proposal_id: UUID) -> tuple[ConstitutionProposal, Recorded]:
    """Take a pending proposal back.

    Raises:
        SomaError: ``not_found``, ``not_the_submitter``, ``proposal_decided``.
    """
    row = await proposal_of(session, caller.tenant_id, proposal_id, lock=True)
    if row.proposer != caller.user_id:
        raise SomaError(Code.NOT_THE_SUBMITTER, "Only its proposer may withdraw a proposal; others may reject it.")
    if row.status != ProposalStatus.PENDING:
        raise proposal_decided(row.status)
    row.status = ProposalStatus.WITHDRAWN.value
    row.decided_at = datetime.now(UTC)
    await session.flush()
    connection = await raw_connection(session)
    happening = by(caller, "constitution.withdrawn", f"constitution_proposal:{row.id}", detail={"version": row.version})
    await take_in(connection, happening)
    return row, await record(connection, closing_order(row))


def closing_order(row: ConstitutionProposal) -> SignalOrder:
    """The order that tells a proposal's workflow that it is closed."""
    return SignalOrder(
        tenant_id=row.tenant_id,
        workflow_id=row.workflow_id,
        signal=PROPOSAL_CLOSED,
        argument=argument_of(ProposalClosed(status=ProposalStatus(row.status))),
    )


async def quorum_of(session: AsyncSession, tenant_id: str) -> int:
    """How many distinct people have to approve: the tenant's setting, else two."""
    query = select(Tenant.settings[QUORUM_SETTING].as_string()).where(Tenant.id == tenant_id)
    wanted = await session.scalar(query)
    if wanted is None or not wanted.isascii() or not wanted.isdigit():
        return DEFAULT_QUORUM
    return min(max(int(wanted), 1), LARGEST_QUORUM)


async def _insert(
    session: AsyncSession, caller: Caller, bundle: Bundle, notes: str | None, rollback_of: int | None
) -> ConstitutionProposal:
    proposal_id = uuid4()
    row = ConstitutionProposal(
        id=proposal_id,
        tenant_id=caller.tenant_id,
        version=bundle.constitution.version,
        content=bundle.content,
        hash=bundle.constitution.content_hash,
        signature=bundle.signature,
        signer_key_id=bundle.signer_key_id,
        rollback_of=rollback_of,
        notes=notes,
        proposer=caller.user_id,
        quorum=await quorum_of(session, caller.tenant_id),
        deadline=datetime.now(UTC) + VOTING_PERIOD,
        workflow_id=f"constitution-{proposal_id}",
    )
    session.add(row)
    await session.flush()
    await session.refresh(row)
    return row


def _order(row: ConstitutionProposal) -> WorkflowOrder:
    state = ProposalState(
        proposal_id=str(row.id),
        tenant_id=row.tenant_id,
        version=row.version,
        proposer=row.proposer,
        deadline=row.deadline,
        quorum=row.quorum,
    )
    return WorkflowOrder(
        tenant_id=row.tenant_id,
        workflow=CONSTITUTION_WORKFLOW,
        workflow_id=row.workflow_id,
        argument=argument_of(state),
        summary=f"Constitution {row.version} of {row.tenant_id}",
        details=f"Version **{row.version}**, hash `{row.hash}`\n\nProposed by `{row.proposer}`; needs {row.quorum}.",
        status=ProposalStatus.PENDING.value,
        memo={"proposal_id": str(row.id), "proposer": row.proposer},
    )


def _to_be_signed(content: JsonObject, new: NewRollback) -> SomaError:
    canonical = canonical_bytes(content).decode()
    detail = (
        f"Sign this content (DSSE, payload type {CONSTITUTION_PAYLOAD_TYPE}) and send it again with signature and "
        f"signer_key_id: {canonical}"
    )
    given = {"signature": new.signature, "signer_key_id": new.signer_key_id}
    faults = [Fault(name, "missing", detail) for name, value in given.items() if value is None]
    return SomaError(Code.CONSTITUTION_INVALID, detail, errors=faults)

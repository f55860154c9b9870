"""Constitutions: what is in force, and what was.

The paths of proposals stand in :mod:`somagent.api.routers.constitution_proposals`, which comes before this one: a
tenant's name in ``/v1/constitution/{tenant}`` must not hide them.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from somagent.adapters.postgres.tables import ConstitutionRow
from somagent.api.body import AnyNumberRoute
from somagent.api.constitution_views import (
    BundleFault,
    ConstitutionSummary,
    ConstitutionView,
    HashView,
    ValidationView,
    constitution_summary,
    constitution_view,
)
from somagent.api.deps import (
    Caller,
    Capability,
    Page,
    PageDep,
    State,
    StateDep,
    fetch_page,
    holds,
    requires,
    soma_router,
)
from somagent.domain.canonical import canonical_bytes
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import JsonObject, Model
from somagent.domain.policy.constitution import parse_constitution
from somagent.services.constitution.bundles import verify
from somagent.services.constitution.proposals import KeyId, SignatureText
from somagent.services.constitution.reading import in_force, versions_of

router = soma_router("constitution", AnyNumberRoute)

Reader = Annotated[Caller, Depends(requires("policy:read"))]


class Candidate(Model):
    """A constitution to be checked; with a signature and its key, they are checked too."""

    content: JsonObject
    signature: SignatureText | JsonObject | None = None
    signer_key_id: KeyId | None = None


@router.get("/v1/constitution")
async def read_own(state: StateDep, caller: Reader) -> ConstitutionView:
    """What is in force for the caller's tenant, and whether it can be verified."""
    return await _view(state, caller.tenant_id)


@router.get("/v1/constitution/hash")
async def read_own_hash(state: StateDep, caller: Reader) -> HashView:
    """The hash and version in force for the caller's tenant."""
    return await _hash(state, caller.tenant_id)


@router.post("/v1/constitution/validate")
async def validate(body: Candidate, state: StateDep, caller: Reader) -> ValidationView:
    """Check a constitution without proposing it. `canonical` is what its signature has to be over."""
    try:
        constitution = parse_constitution(body.content, path="content")
    except SomaError as error:
        return ValidationView(valid=False, hash=None, canonical=None, errors=_faults(error))
    errors: list[BundleFault] = []
    try:
        if body.signature is not None and body.signer_key_id is not None:
            async with state.app_db.tenant(caller.tenant_id) as session:
                await verify(session, caller.tenant_id, constitution, body.signature, body.signer_key_id)
        elif body.signature is not None or body.signer_key_id is not None:
            missing = "signature" if body.signature is None else "signer_key_id"
            raise SomaError(
                Code.CONSTITUTION_INVALID,
                "A signature and the key that made it are given together.",
                errors=[Fault(missing, "missing", "A signature and the key that made it are given together.")],
            )
    except SomaError as error:
        errors = _faults(error)
    canonical = canonical_bytes(constitution.model_dump(mode="json")).decode()
    return ValidationView(valid=not errors, hash=constitution.content_hash, canonical=canonical, errors=errors)


@router.get("/v1/constitution/{tenant}")
async def read(tenant: str, state: StateDep, caller: Reader) -> ConstitutionView:
    """What is in force for a tenant: the caller's own, or with `tenant:any` any other."""
    return await _view(state, _visible(state, caller, tenant))


@router.get("/v1/constitution/{tenant}/hash")
async def read_hash(tenant: str, state: StateDep, caller: Reader) -> HashView:
    """The hash and version in force for a tenant."""
    return await _hash(state, _visible(state, caller, tenant))


@router.get("/v1/constitution/{tenant}/versions")
async def versions(tenant: str, state: StateDep, page: PageDep, caller: Reader) -> Page[ConstitutionSummary]:
    """Every version that is or was in force for a tenant, newest first, the deployment's own included."""
    of = _visible(state, caller, tenant)
    async with state.app_db.tenant(of) as session:
        return await fetch_page(
            session,
            versions_of(of),
            page,
            ConstitutionRow.activated_at,
            ConstitutionRow.tenant_id,
            lambda row: constitution_summary(row[0]),
        )


async def _view(state: State, tenant_id: str) -> ConstitutionView:
    await state.gate.watch.refresh()
    async with state.app_db.tenant(tenant_id) as session:
        row = await in_force(session, tenant_id)
        return constitution_view(row, tenant_id, state.gate.constitutions.standing(tenant_id))


async def _hash(state: State, tenant_id: str) -> HashView:
    async with state.app_db.tenant(tenant_id) as session:
        row = await in_force(session, tenant_id)
        return HashView(hash=row.hash, version=row.version)


def _visible(state: State, caller: Caller, tenant: str) -> str:
    """The tenant, if the caller may look at it; raises ``not_found``."""
    own = tenant == caller.tenant_id
    if own or (holds(caller, Capability.TENANT_ANY) and tenant in state.gate.tenants):
        return tenant
    raise SomaError(Code.NOT_FOUND, "There is no such tenant.")


def _faults(error: SomaError) -> list[BundleFault]:
    faults = error.errors or (Fault("signature", error.code.value, error.detail),)
    return [BundleFault(path=fault.path, code=fault.code, detail=fault.detail) for fault in faults]

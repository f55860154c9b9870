"""Capsules: what the tenant may install, and the recall of a version."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from somagent.api.deps import (
    Answer,
    Caller,
    IdempotencyKey,
    Page,
    PageDep,
    StateDep,
    Timestamp,
    created,
    creating,
    requires,
    soma_router,
)
from somagent.api.following import telling
from somagent.domain.capsules.contract import CapsuleContract, ComplianceReport, compliance_report, contract
from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.model import JsonObject, Model
from somagent.services.capsules import catalogue, recalls
from somagent.services.capsules.releases import Release

router = soma_router("task-capsule-repo")

Reader = Annotated[Caller, Depends(requires("capsule:read"))]
Reviewer = Annotated[Caller, Depends(requires("capsule:review"))]


class CapsuleSummary(Model):
    """One version of a capsule."""

    id: str
    version: str
    summary: str
    type: str
    source: str = Field(description="filesystem or marketplace")
    status: str = Field(description="approved or recalled")
    attestation_hash: str = Field(description="Hex SHA-256 of the definition's RFC 8785 canonical JSON")
    submission_id: UUID | None = Field(description="Of the marketplace's capsules, where the submission is one's own")


class CapsuleView(CapsuleSummary):
    """A version with its definition, and what the definition says of the worst that a run can do."""

    definition: JsonObject
    contract: CapsuleContract
    compliance_report: ComplianceReport


class RecallView(Model):
    """What a recall did; the counts are over all tenants."""

    id: UUID
    capsule_id: str
    version: str
    reason: str
    mode: recalls.RecallMode
    status: str = "recalled"
    installations_quarantined: int
    jobs_stopping: int = Field(description="Jobs asked to stop (mode stop)")
    jobs_draining: int = Field(description="Jobs left to end by themselves (mode drain)")
    recalled_by: str
    created_at: Timestamp


@router.get("/v1/capsules")
async def list_capsules(state: StateDep, page: PageDep, caller: Reader) -> Page[CapsuleSummary]:
    """Every version that the tenant may see: approved ones of the marketplace, newest first, then the shipped ones."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        releases, cursor = await catalogue.page_of(session, caller.tenant_id, state.folder, page)
    items = [CapsuleSummary(**_fields(release, caller.tenant_id)) for release in releases]
    return Page[CapsuleSummary](items=items, next_cursor=cursor)


@router.get("/v1/capsules/{capsule_id}")
async def read(
    capsule_id: str,
    state: StateDep,
    caller: Reader,
    version: Annotated[str | None, Query(max_length=128, description="The newest approved when absent")] = None,
) -> CapsuleView:
    """One version with its definition, contract and compliance report."""
    async with state.app_db.tenant(caller.tenant_id) as session:
        release = await catalogue.capsule_of(session, caller.tenant_id, state.folder, capsule_id, version)
    definition = CapsuleDefinition.model_validate(release.document)
    return CapsuleView(
        **_fields(release, caller.tenant_id),
        definition=release.document,
        contract=contract(definition),
        compliance_report=compliance_report(definition),
    )


@router.post("/v1/capsules/{capsule_id}/versions/{version}/recall", response_model=RecallView)
async def recall(
    request: Request,
    capsule_id: str,
    version: str,
    state: StateDep,
    caller: Reviewer,
    body: recalls.NewRecall | None = None,
    key: IdempotencyKey = None,
) -> Response:
    """Recall a version: its installations are quarantined, its jobs stopped or drained, the tenants told.

    The tenant that published a version recalls it for all tenants; a shipped one, for itself.
    """

    order = body or recalls.NewRecall()

    async def make(_: AsyncSession) -> Answer:
        async with state.system_db.system() as system:
            done = await recalls.recall(system, state.folder, caller, capsule_id, version, order)
        return created(200, _recalled(done), after_commit=(telling(state, *done.orders),))

    return await creating(request, caller, key, order, make)


def _fields(release: Release, tenant_id: str) -> dict[str, object]:
    return {
        "id": release.capsule_id,
        "version": release.version,
        "summary": release.summary,
        "type": release.type,
        "source": release.source,
        "status": release.status,
        "attestation_hash": release.attestation_hash,
        "submission_id": release.submission_id if release.publisher == tenant_id else None,
    }


def _recalled(done: recalls.Recalled) -> RecallView:
    stopping = done.mode is recalls.RecallMode.STOP
    return RecallView(
        id=done.recall.id,
        capsule_id=done.recall.capsule_id,
        version=done.recall.version,
        reason=done.recall.reason,
        mode=done.mode,
        installations_quarantined=done.installations,
        jobs_stopping=done.jobs if stopping else 0,
        jobs_draining=0 if stopping else done.jobs,
        recalled_by=done.recall.recalled_by,
        created_at=done.recall.created_at,
    )

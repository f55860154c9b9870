"""The audit chain: searched, its signed end, and the whole as one document that verifies offline.

What was taken in is sealed before it is read, so that everything done before a request is in its answer.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Depends, Query
from pydantic import AfterValidator, AwareDatetime, Field
from starlette.responses import Response, StreamingResponse

from somagent.adapters.postgres.tables import AuditEntry
from somagent.api.deps import Caller, Page, PageDep, StateDep, Timestamp, requires, soma_router
from somagent.domain.audit.export import ExportHead, SignedHeader
from somagent.domain.model import JsonObject, Model
from somagent.services.audit.intake import by, take_in
from somagent.services.audit.reading import AuditFilter, prepare_export, read_head
from somagent.services.audit.sealing import Sealer
from somagent.services.pagination import Cursor, invalid_cursor

router = soma_router("policy-engine")

Auditor = Annotated[Caller, Depends(requires("audit:read"))]

_BEGINNING = "; a `*` at its end stands for anything"


def _within_calendar(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("in UTC it lies outside the years 1 to 9999") from None


Wanted = Annotated[str | None, Query(min_length=1, max_length=300)]
Moment = Annotated[AwareDatetime, AfterValidator(_within_calendar)]


class AuditEntryView(Model):
    """A sealed entry."""

    tenant_id: str
    seq: int = Field(description="Its number in the tenant's chain, from 1 without a gap")
    occurred_at: Timestamp
    topic: str
    actor: str = Field(description="A user's id, or the part of ours that acted")
    action: str = Field(examples=["job.submitted"])
    object: str = Field(examples=["job:7f0c9f5e-6d0b-4c2e-9a59-0a6a5b1d3c11"])
    outcome: str = Field(description="done, refused, allowed or failed")
    detail: JsonObject
    request_id: str | None
    trace_id: str | None
    previous_hash: str
    hash: str = Field(description="SHA-256, hex, over the RFC 8785 form of all other fields")


class AuditExport(Model):
    """The document of an export."""

    header: SignedHeader
    entries: list[AuditEntryView]
    head: ExportHead
    public_keys: list[JsonObject] = Field(description="The deployment's keys, as JWK")


@router.get("/v1/audit")
async def search(
    state: StateDep,
    caller: Auditor,
    page: PageDep,
    actor: Annotated[Wanted, Query(description=f"Who acted{_BEGINNING}")] = None,
    action: Annotated[Wanted, Query(description=f"What was done{_BEGINNING}")] = None,
    object: Annotated[Wanted, Query(description=f"What it was done to{_BEGINNING}")] = None,  # noqa: A002
    topic: Annotated[Wanted, Query(description=f"The event's topic{_BEGINNING}")] = None,
    outcome: Annotated[Literal["done", "refused", "allowed", "failed"] | None, Query()] = None,
    since: Annotated[Moment | None, Query(description="From this moment on")] = None,
    until: Annotated[Moment | None, Query(description="Before this moment")] = None,
) -> Page[AuditEntryView]:
    """The tenant's entries, newest first."""
    wanted = AuditFilter(actor, action, object, topic, outcome, since, until).statement()
    if page.after is not None:
        wanted = wanted.where(AuditEntry.seq < _seq(page.after))
    await Sealer(state.app_db, state.keyring).seal(caller.tenant_id)
    async with state.app_db.tenant(caller.tenant_id) as session:
        rows = (await session.scalars(wanted.order_by(AuditEntry.seq.desc()).limit(page.limit + 1))).all()
    shown = rows[: page.limit]
    more = Cursor(shown[-1].occurred_at, str(shown[-1].seq)).encode() if len(rows) > len(shown) else None
    return Page[AuditEntryView](items=[_view(row) for row in shown], next_cursor=more)


@router.get("/v1/audit/head")
async def head(state: StateDep, caller: Auditor) -> ExportHead:
    """Where the tenant's chain ends now, signed. Kept elsewhere, it shows later that nothing before it was changed."""
    await Sealer(state.app_db, state.keyring).seal(caller.tenant_id)
    async with state.app_db.connection(caller.tenant_id) as connection:
        return await read_head(connection, caller.tenant_id)


@router.get("/v1/audit/export", response_model=AuditExport)
async def export(
    state: StateDep,
    caller: Auditor,
    since_seq: Annotated[int, Query(ge=1, le=2**53, description="The first entry wanted")] = 1,
) -> Response:
    """The chain as one JSON document, which `somagent audit verify FILE` checks offline. This is audited itself."""
    happening = by(
        caller,
        "audit.exported",
        f"tenant:{caller.tenant_id}",
        detail={"since_seq": since_seq},
    )
    async with state.app_db.connection(caller.tenant_id) as connection:
        await take_in(connection, happening)
    await Sealer(state.app_db, state.keyring).seal(caller.tenant_id)
    async with state.app_db.connection(caller.tenant_id) as connection:
        prepared = await prepare_export(connection, state.keyring, caller.tenant_id, since_seq, datetime.now(UTC))
    name = f"audit-{prepared.header.first_seq}-{prepared.head.seq}.json"
    return StreamingResponse(
        prepared.document(state.app_db),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _seq(place: Cursor) -> int:
    if not place.id.isascii() or not place.id.isdigit() or len(place.id) > 18:
        raise invalid_cursor()
    return int(place.id)


def _view(row: AuditEntry) -> AuditEntryView:
    return AuditEntryView.model_validate({name: getattr(row, name) for name in AuditEntryView.model_fields})

"""Public keys that a tenant's signatures are checked with. A revoked key stays on record and verifies nothing more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import Select, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.tables import SigningKey
from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject, Model
from somagent.domain.signatures import key_id, load_public_key, public_pem
from somagent.services.capsules.records import account_for


class NewSigningKey(Model):
    """An Ed25519 public key: PEM, a JWK as text, or its 32 bytes as base64 or hex.

    Attributes:
        key_id: how submissions name it; its fingerprint when absent.
    """

    public_key: Annotated[str, Field(min_length=1, max_length=4000)]
    key_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")] | None = None
    label: Annotated[str, Field(max_length=200)] = ""


async def register(session: AsyncSession, caller: Caller, new: NewSigningKey) -> SigningKey:
    """Register a key.

    Raises:
        SomaError: ``validation_failed`` for what is no Ed25519 public key; ``signing_key_exists``: a name is never
            used twice, that of a revoked key neither.
    """
    public_key = load_public_key(new.public_key)
    row = SigningKey(
        tenant_id=caller.tenant_id,
        key_id=new.key_id or key_id(public_key),
        public_key=public_pem(public_key),
        label=new.label,
        created_by=caller.user_id,
        created_at=datetime.now(UTC),
    )
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise SomaError(
            Code.SIGNING_KEY_EXISTS, f"There is a signing key {row.key_id} already. Choose another key_id."
        ) from error
    await _account_for(session, caller, "capsule.signing_key.registered", row)
    return row


def all_keys() -> Select[Any]:
    """The keys of the session's tenant, revoked ones included."""
    return select(SigningKey)


async def key_of(session: AsyncSession, tenant_id: str, wanted: str, *, lock: bool = False) -> SigningKey:
    """A tenant's key; raises ``not_found``."""
    query = select(SigningKey).where(SigningKey.tenant_id == tenant_id, SigningKey.key_id == wanted)
    row = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise SomaError(Code.NOT_FOUND, "There is no such signing key.")
    return row


async def revoke(session: AsyncSession, caller: Caller, wanted: str) -> None:
    """Revoke a key: submissions signed with it can no longer be installed. Again: nothing changes.

    Raises:
        SomaError: ``not_found``.
    """
    row = await key_of(session, caller.tenant_id, wanted, lock=True)
    if row.revoked_at is None:
        row.revoked_at = datetime.now(UTC)
        await _account_for(session, caller, "capsule.signing_key.revoked", row)


async def _account_for(session: AsyncSession, caller: Caller, kind: str, row: SigningKey) -> None:
    data: JsonObject = {"key_id": row.key_id, "fingerprint": key_id(load_public_key(row.public_key))}
    await account_for(session, row.tenant_id, caller.user_id, kind, f"signing_key:{row.key_id}", data)

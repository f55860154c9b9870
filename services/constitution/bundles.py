"""Checking a constitution that somebody hands in: every fault at once, then its key, then its signature."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.tables import SigningKey
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.policy.bundles import verify_bundle
from somagent.domain.policy.constitution import Constitution, parse_constitution

Signature = str | JsonObject


@dataclass(frozen=True, slots=True)
class Bundle:
    """A constitution whose content and signature hold."""

    constitution: Constitution
    signature: str
    signer_key_id: str

    @property
    def content(self) -> JsonObject:
        """What was signed, as it is stored."""
        return self.constitution.model_dump(mode="json")


async def checked_bundle(
    session: AsyncSession,
    tenant_id: str,
    content: JsonObject,
    signature: Signature | None,
    signer_key_id: str | None,
) -> Bundle:
    """Check content, signature and key.

    Raises:
        SomaError: ``constitution_invalid`` with every fault, those of a missing signature among them, then
            ``signing_key_unknown``, then ``signature_invalid``.
    """
    faults = list(_unsigned(signature, signer_key_id))
    constitution: Constitution | None = None
    try:
        constitution = parse_constitution(content, path="content")
    except SomaError as error:
        faults = [*error.errors, *faults]
    if faults or constitution is None or signature is None or signer_key_id is None:
        noun = "fault" if len(faults) == 1 else "faults"
        raise SomaError(
            Code.CONSTITUTION_INVALID,
            f"The constitution has {len(faults)} {noun}. Correct all, sign it and send it again.",
            errors=faults,
        )
    await verify(session, tenant_id, constitution, signature, signer_key_id)
    kept = orjson.dumps(signature).decode() if isinstance(signature, dict) else signature
    return Bundle(constitution, kept, signer_key_id)


async def verify(
    session: AsyncSession, tenant_id: str, constitution: Constitution, signature: Signature, signer_key_id: str
) -> None:
    """Verify a signature with a key of the tenant that was not revoked.

    Raises:
        SomaError: ``signing_key_unknown``, ``signature_invalid``.
    """
    query = select(SigningKey.public_key).where(
        SigningKey.tenant_id == tenant_id, SigningKey.key_id == signer_key_id, SigningKey.revoked_at.is_(None)
    )
    public_key = await session.scalar(query)
    if public_key is None:
        detail = f"There is no signing key {signer_key_id!r}, or it was revoked. Register it under /v1/signing-keys."
        raise SomaError(
            Code.SIGNING_KEY_UNKNOWN, detail, errors=[Fault("signer_key_id", Code.SIGNING_KEY_UNKNOWN.value, detail)]
        )
    verify_bundle(constitution.model_dump(mode="json"), signature, public_key)


def _unsigned(signature: Signature | None, signer_key_id: str | None) -> list[Fault]:
    given = {"signature": signature, "signer_key_id": signer_key_id}
    return [
        Fault(name, "missing", "A constitution is signed, and names the key that signed it.")
        for name, value in given.items()
        if not value
    ]

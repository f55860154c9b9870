"""What a capsule's content is checked for whenever it is taken in: faults, identity, hash, signature."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from hmac import compare_digest

import orjson
from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from somagent.adapters.postgres.tables import SigningKey
from somagent.domain.canonical import sha256_hex
from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.capsules.signatures import verify_signature
from somagent.domain.capsules.validation import parse_definition
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.versions import is_version

_EXACT = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Attested:
    """A definition that was checked, as it was given and as it was understood."""

    document: JsonObject
    definition: CapsuleDefinition
    attestation_hash: str
    signature: str | None
    signer_key_id: str | None


async def attest(
    session: AsyncSession,
    tenant_id: str,
    document: JsonObject,
    attestation_hash: str,
    signature: str | JsonObject | None,
    signer_key_id: str | None,
    *,
    capsule_id: str,
    version: str,
) -> Attested:
    """Check a definition that somebody hands in as ``capsule_id`` ``version``.

    Raises:
        SomaError: ``capsule_invalid`` with every fault, then ``attestation_mismatch``, then ``signing_key_unknown``,
            then ``signature_invalid``.
    """
    # Near the body's limit this takes the better part of a second, in which others want to be served.
    definition = await asyncio.to_thread(_understood, document, capsule_id, version, signature, signer_key_id)
    check_hash(document, attestation_hash)
    if signature is not None and signer_key_id is not None:
        await check_signature(session, tenant_id, document, signature, signer_key_id)
    kept = orjson.dumps(signature).decode() if isinstance(signature, dict) else signature
    return Attested(document, definition, attestation_hash.lower(), kept, signer_key_id)


def check_hash(document: JsonObject, attestation_hash: str) -> None:
    """Compare a definition with the hash that was given for it.

    Raises:
        SomaError: ``attestation_mismatch``.
    """
    actual = sha256_hex(document)
    if not compare_digest(actual.encode(), attestation_hash.lower().encode()):
        raise SomaError(
            Code.ATTESTATION_MISMATCH,
            f"attestation_hash is not the definition's hash. Send the hex SHA-256 of its RFC 8785 canonical JSON; "
            f"of the definition that arrived it is {actual}.",
        )


async def check_signature(
    session: AsyncSession, tenant_id: str, document: JsonObject, signature: str | JsonObject, signer_key_id: str
) -> None:
    """Verify a signature with a key of ``tenant_id``.

    Raises:
        SomaError: ``signing_key_unknown`` when the key is not registered, or was revoked; ``signature_invalid``.
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
    verify_signature(document, signature, public_key)


def restored(document: JsonObject) -> JsonObject:
    """A definition as it was handed in, from the form in which Postgres gave it back.

    Postgres writes a float such as 1e22 in full, and Python reads that as an integer, which RFC 8785 refuses.
    """
    return {key: _restored(value) for key, value in document.items()}


def _restored(value: JsonValue) -> JsonValue:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _EXACT:
        return float(value)
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if isinstance(value, dict):
        return {key: _restored(item) for key, item in value.items()}
    return value


def _understood(
    document: JsonObject, capsule_id: str, version: str, signature: str | JsonObject | None, signer_key_id: str | None
) -> CapsuleDefinition:
    faults = _identity_faults(document, capsule_id, version)
    if (signature is None) != (signer_key_id is None):
        missing = "signer_key_id" if signer_key_id is None else "attestation_signature"
        faults.append(Fault(missing, "missing", "A signature and the key that made it are given together."))
    definition: CapsuleDefinition | None = None
    try:
        definition = parse_definition(document)
        sha256_hex(document)
    except SomaError as error:
        own = list(error.errors) or [Fault("", error.code.value, error.detail)]
        faults.extend(own)
    if faults or definition is None:
        raise SomaError(
            Code.CAPSULE_INVALID,
            f"The capsule has {len(faults)} fault{'' if len(faults) == 1 else 's'}. Correct all and submit again.",
            errors=faults,
        )
    return definition


def _identity_faults(document: JsonObject, capsule_id: str, version: str) -> list[Fault]:
    faults = []
    if not is_version(version):
        faults.append(Fault("version", "bad_version", f"{version!r} is not a semantic version such as 1.2.3."))
    for name, given in (("id", capsule_id), ("version", version)):
        if document.get(name) != given:
            field = "capsule_id" if name == "id" else name
            detail = f"{field} is {given!r}, but the definition says {document.get(name)!r}."
            faults.append(Fault(field, "identity_mismatch", detail))
    return faults

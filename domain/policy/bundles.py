"""Signed constitutions: DSSE with Ed25519 over the RFC 8785 form of the constitution's content."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import JsonValue

from somagent.domain.canonical import canonical_bytes
from somagent.domain.errors import SomaError
from somagent.domain.model import JsonObject
from somagent.domain.signatures import JSON_PAYLOAD_TYPE, load_public_key, sign, verify

CONSTITUTION_PAYLOAD_TYPE: Final = "application/vnd.somagent.constitution+json"


def sign_bundle(content: JsonObject, private_key: Ed25519PrivateKey) -> str:
    """The signature of a constitution's content, in standard base64."""
    return sign(CONSTITUTION_PAYLOAD_TYPE, canonical_bytes(content), private_key)


def verify_bundle(content: JsonObject, signature: JsonValue, public_key: str) -> None:
    """Check a constitution's signature, bare or in an envelope.

    Raises:
        SomaError: ``signature_invalid``; ``validation_failed`` where the key or the content cannot be read.
    """
    types = (CONSTITUTION_PAYLOAD_TYPE, JSON_PAYLOAD_TYPE)
    key = load_public_key(public_key)
    try:
        verify(types, canonical_bytes(content), signature, key)
    except SomaError as error:
        raise SomaError(error.code, f"{error.detail} DSSE's payload type is {CONSTITUTION_PAYLOAD_TYPE}.") from error

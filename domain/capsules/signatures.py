"""Signatures of capsule definitions: DSSE with Ed25519 over the RFC 8785 form."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import JsonValue

from somagent.domain.canonical import canonical_bytes
from somagent.domain.model import JsonObject
from somagent.domain.signatures import CAPSULE_PAYLOAD_TYPE, JSON_PAYLOAD_TYPE, envelope, load_public_key, verify


def verify_signature(document: JsonObject, signature: JsonValue, public_key: str) -> None:
    """Check a definition's signature against a public key in any form that ``load_public_key`` reads.

    Raises:
        SomaError: SIGNATURE_INVALID; VALIDATION_FAILED where the key or the document cannot be read.
    """
    types = (CAPSULE_PAYLOAD_TYPE, JSON_PAYLOAD_TYPE)
    verify(types, canonical_bytes(document), signature, load_public_key(public_key))


def signed_envelope(document: JsonObject, private_key: Ed25519PrivateKey) -> JsonObject:
    """The DSSE envelope of a definition; raises as ``canonical_bytes`` does."""
    return envelope(CAPSULE_PAYLOAD_TYPE, canonical_bytes(document), private_key)

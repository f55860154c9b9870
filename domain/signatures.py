"""Ed25519 signatures over DSSE's pre-authentication encoding (secure-systems-lab/dsse, protocol.md, v1).

What is signed is never the payload itself but PAE(type, payload) = ``DSSEv1 len(type) type len(payload) payload``: a
signature made for one kind of document can then not pass for another. A signature comes as a DSSE envelope (a JSON
object) or bare (base64, base64url or hex); both are over the same PAE.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from itertools import product

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from pydantic import JsonValue

from somagent.domain.errors import Code, Fault, SomaError

CAPSULE_PAYLOAD_TYPE = "application/vnd.somagent.capsule+json"
"""The payload type of a capsule definition in its RFC 8785 form."""
JSON_PAYLOAD_TYPE = "application/json"
"""What common DSSE tools name such a payload."""

_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_HEX = re.compile(r"[0-9A-Fa-f]+")


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding; lengths are of bytes, in decimal."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, private_key: Ed25519PrivateKey) -> str:
    """The signature over the payload's PAE, in standard base64."""
    return base64.b64encode(private_key.sign(pae(payload_type, payload))).decode()


def envelope(payload_type: str, payload: bytes, private_key: Ed25519PrivateKey) -> dict[str, JsonValue]:
    """A DSSE envelope with one signature."""
    return {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": key_id(private_key.public_key()), "sig": sign(payload_type, payload, private_key)},
        ],
    }


def verify(payload_types: Sequence[str], payload: bytes, signature: JsonValue, public_key: Ed25519PublicKey) -> None:
    """Check a signature: an envelope as object or as its JSON text, or a bare signature.

    An envelope's payload has to be ``payload`` itself, its type one of ``payload_types`` (the first is the one to use),
    and one of its signatures has to be of this key. A bare signature may be over any of the types.

    Raises:
        SomaError: SIGNATURE_INVALID, with the reason.
    """
    types, candidates = _signatures(payload_types, payload, signature)
    for kind, candidate in product(types, candidates):
        try:
            public_key.verify(candidate, pae(kind, payload))
        except InvalidSignature:
            continue
        return
    raise _invalid("it was not made by this key over this document; sign the DSSE encoding of its canonical JSON")


def load_public_key(text: str) -> Ed25519PublicKey:
    """An Ed25519 public key from PEM, a JWK (kty OKP), or its 32 bytes as base64, base64url or hex.

    Raises:
        SomaError: VALIDATION_FAILED where it is none of them.
    """
    stripped = text.strip()
    if stripped.startswith("-----BEGIN"):
        return _from_pem(stripped)
    raw = _jwk_bytes(stripped) if stripped.startswith("{") else _decoded(stripped, _KEY_BYTES)
    if raw is None or len(raw) != _KEY_BYTES:
        raise _bad_key("it is neither PEM, nor a JWK with kty OKP, nor 32 bytes as base64 or hex")
    return Ed25519PublicKey.from_public_bytes(raw)


def public_pem(public_key: Ed25519PublicKey) -> str:
    """The key as PEM (SubjectPublicKeyInfo)."""
    return public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def key_id(public_key: Ed25519PublicKey) -> str:
    """The key's name: the first 32 hex digits of the SHA-256 of its 32 bytes."""
    raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:32]


def thumbprint(public_key: Ed25519PublicKey) -> str:
    """The key's RFC 7638 thumbprint: the ``kid`` of the deployment's own keys."""
    raw = public_key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    jwk = orjson.dumps({"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)})
    return _base64url(hashlib.sha256(jwk).digest())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _signatures(
    payload_types: Sequence[str], payload: bytes, signature: JsonValue
) -> tuple[Sequence[str], list[bytes]]:
    """The types that the signature may be over, and the signatures of which one has to hold."""
    if isinstance(signature, str):
        stripped = signature.strip()
        if not stripped.startswith("{"):
            return payload_types, [_signature_bytes(stripped)]
        try:
            signature = orjson.loads(stripped)
        except orjson.JSONDecodeError:
            raise _invalid("it begins like a DSSE envelope and is not JSON") from None
    if not isinstance(signature, dict):
        raise _invalid("it is neither a DSSE envelope nor a text")
    return _envelope_signatures(payload_types, payload, signature)


def _envelope_signatures(
    payload_types: Sequence[str], payload: bytes, signature: dict[str, JsonValue]
) -> tuple[Sequence[str], list[bytes]]:
    kind = signature.get("payloadType")
    if not isinstance(kind, str) or kind not in payload_types:
        raise _invalid(f"the envelope's payloadType is not {payload_types[0]}")
    enclosed, entries = signature.get("payload"), signature.get("signatures")
    if not isinstance(enclosed, str) or _decoded(enclosed) != payload:
        raise _invalid("the envelope's payload is not the canonical JSON (RFC 8785) of this definition")
    if not isinstance(entries, list) or not entries:
        raise _invalid("the envelope has no signatures")
    texts = [entry.get("sig") for entry in entries if isinstance(entry, dict)]
    return (kind,), [_signature_bytes(text) for text in texts if isinstance(text, str)]


def _signature_bytes(text: str) -> bytes:
    raw = _decoded(text, _SIGNATURE_BYTES)
    if raw is None or len(raw) != _SIGNATURE_BYTES:
        raise _invalid("an Ed25519 signature has 64 bytes, as base64 or hex")
    return raw


def _decoded(text: str, size: int | None = None) -> bytes | None:
    """Bytes from hex where the length fits ``size``, else from base64 of either alphabet, padded or not."""
    if size is not None and len(text) == 2 * size and _HEX.fullmatch(text):
        return bytes.fromhex(text)
    standard = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _from_pem(text: str) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise _bad_key("its PEM does not hold a public key that can be read") from None
    if not isinstance(key, Ed25519PublicKey):
        raise _bad_key("its PEM holds a key of another kind; Ed25519 is needed")
    return key


def _jwk_bytes(text: str) -> bytes | None:
    try:
        jwk = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(jwk, dict) or jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519" or "d" in jwk:
        raise _bad_key("its JWK needs kty OKP, crv Ed25519, x, and no private part")
    encoded = jwk.get("x")
    return _decoded(encoded) if isinstance(encoded, str) else None


def _bad_key(why: str) -> SomaError:
    detail = f"The public key cannot be used: {why}."
    return SomaError(Code.VALIDATION_FAILED, detail, errors=(Fault("public_key", "bad_format", why),))


def _invalid(why: str) -> SomaError:
    return SomaError(Code.SIGNATURE_INVALID, f"The signature does not hold: {why}.")

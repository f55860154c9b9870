"""DSSE with Ed25519: the forms that are taken, and every way in which a signature does not hold."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import JsonValue

from somagent.domain.canonical import canonical_bytes
from somagent.domain.capsules.signatures import signed_envelope, verify_signature
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.signatures import CAPSULE_PAYLOAD_TYPE, key_id, load_public_key, pae, public_pem, sign

_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_PUBLIC = _KEY.public_key()
_RAW = _PUBLIC.public_bytes(Encoding.Raw, PublicFormat.Raw)
_DOCUMENT: JsonObject = {"id": "a", "version": "1.0.0", "inputs": [1, 2.0]}
_SIGNATURE = base64.b64decode(sign(CAPSULE_PAYLOAD_TYPE, canonical_bytes(_DOCUMENT), _KEY))


def test_pae_is_the_example_of_the_dsse_protocol() -> None:
    encoded = pae("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@pytest.mark.parametrize(
    "signature",
    [
        base64.b64encode(_SIGNATURE).decode(),
        base64.urlsafe_b64encode(_SIGNATURE).decode().rstrip("="),
        _SIGNATURE.hex(),
        signed_envelope(_DOCUMENT, _KEY),
        json.dumps(signed_envelope(_DOCUMENT, _KEY), indent=2),
    ],
    ids=["base64", "base64url", "hex", "envelope", "envelope as text"],
)
def test_every_form_of_a_signature_holds(signature: JsonValue) -> None:
    verify_signature(_DOCUMENT, signature, public_pem(_PUBLIC))


@pytest.mark.parametrize(
    "key",
    [
        public_pem(_PUBLIC),
        base64.b64encode(_RAW).decode(),
        base64.urlsafe_b64encode(_RAW).decode().rstrip("="),
        _RAW.hex(),
        json.dumps({"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(_RAW).decode().rstrip("=")}),
    ],
    ids=["pem", "base64", "base64url", "hex", "jwk"],
)
def test_every_form_of_a_key_is_the_same_key(key: str) -> None:
    assert key_id(load_public_key(key)) == key_id(_PUBLIC)


def _envelope(**changes: JsonValue) -> JsonObject:
    return {**signed_envelope(_DOCUMENT, _KEY), **changes}


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        (base64.b64encode(_KEY.sign(canonical_bytes(_DOCUMENT))).decode(), "not made by this key"),
        (base64.b64encode(b"x" * 64).decode(), "not made by this key"),
        ("AAAA", "64 bytes"),
        ("not base64!", "64 bytes"),
        ("{not json", "not JSON"),
        ("{}", "payloadType"),
        (7, "neither"),
        (_envelope(payloadType="text/plain"), "payloadType"),
        (_envelope(payload=base64.b64encode(b"{}").decode()), "payload is not"),
        (_envelope(signatures=[]), "no signatures"),
        (_envelope(signatures=[{"keyid": "x"}]), "not made by this key"),
    ],
)
def test_what_does_not_hold(signature: JsonValue, why: str) -> None:
    with pytest.raises(SomaError, match=why) as refused:
        verify_signature(_DOCUMENT, signature, public_pem(_PUBLIC))
    assert refused.value.code is Code.SIGNATURE_INVALID


def test_a_signature_holds_for_one_document_and_one_key_only() -> None:
    with pytest.raises(SomaError):
        verify_signature({**_DOCUMENT, "version": "1.0.1"}, _SIGNATURE.hex(), public_pem(_PUBLIC))
    with pytest.raises(SomaError):
        verify_signature(_DOCUMENT, _SIGNATURE.hex(), public_pem(Ed25519PrivateKey.generate().public_key()))


def test_one_of_several_signatures_in_an_envelope_is_enough() -> None:
    other = signed_envelope(_DOCUMENT, Ed25519PrivateKey.generate())
    mine = signed_envelope(_DOCUMENT, _KEY)
    both: JsonObject = {**mine, "signatures": [*_list(other["signatures"]), *_list(mine["signatures"])]}
    verify_signature(_DOCUMENT, both, public_pem(_PUBLIC))


def _list(value: JsonValue) -> list[JsonValue]:
    assert isinstance(value, list)
    return value


_X25519 = X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "text",
    ["", "abc", "AAAA", _X25519.decode(), "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----",
     '{"kty": "RSA"}', '{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}',
     '{"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "d": "secret"}'],
)  # fmt: skip
def test_no_public_keys(text: str) -> None:
    with pytest.raises(SomaError) as refused:
        load_public_key(text)
    assert refused.value.code is Code.VALIDATION_FAILED
    assert refused.value.errors[0].path == "public_key"

"""What somebody who has only the contract would send: common signatures, and a recall without a body."""

from __future__ import annotations

import base64
from collections.abc import Callable

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from somagent.domain.canonical import canonical_bytes
from somagent.domain.capsules.signatures import verify_signature
from somagent.domain.errors import SomaError
from somagent.domain.model import JsonObject
from somagent.domain.signatures import JSON_PAYLOAD_TYPE, envelope, public_pem, sign
from somagent.tests.harness import Stack

_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_PEM = public_pem(_KEY.public_key())
_DOCUMENT: JsonObject = {"id": "a", "version": "1.0.0"}


def test_a_signature_over_plain_json_holds() -> None:
    payload = canonical_bytes(_DOCUMENT)
    verify_signature(_DOCUMENT, envelope(JSON_PAYLOAD_TYPE, payload, _KEY), _PEM)
    verify_signature(_DOCUMENT, sign(JSON_PAYLOAD_TYPE, payload, _KEY), _PEM)


def test_an_envelopes_type_is_the_one_that_was_signed() -> None:
    forged = envelope(JSON_PAYLOAD_TYPE, canonical_bytes(_DOCUMENT), _KEY)
    forged["payloadType"] = "application/vnd.somagent.capsule+json"
    with pytest.raises(SomaError, match="not made by this key"):
        verify_signature(_DOCUMENT, forged, _PEM)


def test_recall_needs_no_body_and_a_key_has_an_id(stack: Stack, token: Callable[..., str]) -> None:
    bearer = token("outsiders", "ann")
    raw = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    with httpx.Client(base_url=stack.base_url, headers={"Authorization": f"Bearer {bearer}"}, timeout=30) as http:
        unknown = http.post("/v1/capsules/nobodys_capsule/versions/1.0.0/recall")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "capsule_not_found")
        shipped = http.post("/v1/capsules/web_page_watch/versions/1.0.0/recall")
        assert (shipped.status_code, shipped.json()["status"]) == (200, "recalled")
        key = http.post("/v1/signing-keys", json={"public_key": base64.b64encode(raw).decode()}).json()
        assert key["id"] == key["key_id"]

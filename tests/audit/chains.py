"""Chains made by hand: what an export would be, without a server."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from somagent.domain.audit.chain import GENESIS, HEAD_PAYLOAD_TYPE, entry_hash, head_payload, read_json
from somagent.domain.audit.export import HEADER_PAYLOAD_TYPE, ExportHeader
from somagent.domain.signatures import sign, thumbprint

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
MOMENT = "2026-01-31T09:05:00.000001Z"


def kid_of(key: Ed25519PrivateKey) -> str:
    """The key's id."""
    return thumbprint(key.public_key())


def jwk_of(key: Ed25519PrivateKey) -> dict[str, Any]:
    """The public key as the deployment's JWKS has it."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": base64.urlsafe_b64encode(raw).decode().rstrip("="),
        "kid": kid_of(key),
        "alg": "EdDSA",
        "use": "sig",
    }


def chain(happenings: Sequence[dict[str, Any]], tenant: str = "acme", first_seq: int = 1) -> list[dict[str, Any]]:
    """The entries that these become, one after the other."""
    entries: list[dict[str, Any]] = []
    previous = GENESIS if first_seq == 1 else "ab" * 32
    for seq, happening in enumerate(happenings, start=first_seq):
        fields = {
            "tenant_id": tenant, "seq": seq, "occurred_at": MOMENT, "topic": "agent.audit", "actor": "ann",
            "action": "job.submitted", "object": f"job:{seq}", "outcome": "done", "detail": {}, "request_id": None,
            "trace_id": None, **happening, "previous_hash": previous,
        }  # fmt: skip
        previous = entry_hash(fields)
        entries.append({**fields, "hash": previous})
    return entries


def document(entries: list[dict[str, Any]], key: Ed25519PrivateKey = KEY) -> dict[str, Any]:
    """A signed export of them."""
    first, last = entries[0], entries[-1]
    tenant = first["tenant_id"]
    header = ExportHeader(
        tenant_id=tenant, exported_at=MOMENT, first_seq=first["seq"], entries=len(entries),
        previous_hash=first["previous_hash"],
    )  # fmt: skip
    signed = {"kid": kid_of(key), "signature": sign(HEADER_PAYLOAD_TYPE, header.payload(), key)}
    return copy.deepcopy(
        {
            "header": {**header.model_dump(), **signed},
            "entries": entries,
            "head": {"tenant_id": tenant, "signed_at": MOMENT, **head(tenant, last["seq"], last["hash"], key)},
            "public_keys": [jwk_of(key)],
        }
    )


def head(tenant: str, seq: int, hash_: str, key: Ed25519PrivateKey = KEY) -> dict[str, Any]:
    """The signed end of a chain."""
    signature = sign(HEAD_PAYLOAD_TYPE, head_payload(tenant, seq, hash_), key)
    return {"seq": seq, "hash": hash_, "signature": signature, "kid": kid_of(key)}


def reread(value: Any, **how: Any) -> Any:
    """Written as JSON, in whatever form, and read as the command reads it."""
    return read_json(json.dumps(value, **how))

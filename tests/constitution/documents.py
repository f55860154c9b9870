"""Constitutions for tests, and people's keys."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from somagent.domain.policy.bundles import sign_bundle
from somagent.domain.policy.constitution import DEFAULT
from somagent.domain.signatures import public_pem

Json = dict[str, Any]


def content(version: int = 2, **changes: Any) -> Json:
    """A sound constitution: the shipped one under another number, with these changes."""
    weights = {**DEFAULT.weights.model_dump(), **changes.pop("weights", {})}
    return {**DEFAULT.model_dump(mode="json"), "version": version, "weights": weights, **changes}


class Signer:
    """A key of somebody who signs."""

    def __init__(self, key_id: str = "signer") -> None:
        self.key_id = key_id
        self.private_key = Ed25519PrivateKey.generate()

    @property
    def registration(self) -> Json:
        """The body of ``POST /v1/signing-keys``."""
        return {"public_key": public_pem(self.private_key.public_key()), "key_id": self.key_id}

    def signed(self, document: Json, **fields: Any) -> Json:
        """The body of ``POST /v1/constitution/proposals``."""
        signature = sign_bundle(document, self.private_key)
        return {"content": document, "signature": signature, "signer_key_id": self.key_id, **fields}

"""Signing keys, and the signatures that are checked with them."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from somagent.domain.canonical import canonical_bytes
from somagent.domain.capsules.signatures import signed_envelope
from somagent.domain.signatures import CAPSULE_PAYLOAD_TYPE, key_id, public_pem, sign
from somagent.tests.capsules.conftest import People
from somagent.tests.capsules.definitions import capsule, submission


async def test_a_key_is_registered_listed_and_revoked(people: People) -> None:
    key = Ed25519PrivateKey.generate().public_key()
    raw = base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    answer = await people.author.post("/v1/signing-keys", json={"public_key": raw, "label": "build machine"})
    assert answer.status_code == 201, answer.text
    registered = answer.json()
    assert (registered["key_id"], registered["public_key"]) == (key_id(key), public_pem(key))
    assert answer.headers["Location"] == f"/v1/signing-keys/{registered['key_id']}"
    again = await people.author.post("/v1/signing-keys", json={"public_key": raw})
    assert (again.status_code, again.json()["code"]) == (409, "signing_key_exists")
    assert (await people.author.delete(f"/v1/signing-keys/{registered['key_id']}")).status_code == 204
    listed = (await people.author.get("/v1/signing-keys")).json()
    assert [item["key_id"] for item in listed["items"]] == [registered["key_id"]]
    assert listed["items"][0]["revoked_at"] is not None


async def test_what_is_no_key_is_refused(people: People, others: People) -> None:
    for text in ("nonsense", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", base64.b64encode(b"short")):
        shown = text if isinstance(text, str) else text.decode()
        answer = await people.author.post("/v1/signing-keys", json={"public_key": shown})
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "public_key")
    key = Ed25519PrivateKey.generate().public_key()
    await people.author.post("/v1/signing-keys", json={"public_key": public_pem(key), "key_id": "ours"})
    for answer in (
        await others.author.get("/v1/signing-keys/ours"),
        await others.author.delete("/v1/signing-keys/ours"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_sound_signature_is_taken_bare_or_in_its_envelope(people: People) -> None:
    key = Ed25519PrivateKey.generate()
    await people.author.post("/v1/signing-keys", json={"public_key": public_pem(key.public_key()), "key_id": "ours"})
    bare, enveloped = capsule(), capsule()
    for definition, signature in (
        (bare, sign(CAPSULE_PAYLOAD_TYPE, canonical_bytes(bare), key)),
        (enveloped, signed_envelope(enveloped, key)),
    ):
        found = await people.submit(definition, attestation_signature=signature, signer_key_id="ours")
        attestation = [finding["code"] for finding in found["findings"] if finding["check"] == "attestation"]
        assert attestation == ["signed"]


async def test_a_wrong_signature_is_refused(people: People) -> None:
    key, strange = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    await people.author.post("/v1/signing-keys", json={"public_key": public_pem(key.public_key()), "key_id": "ours"})
    definition = capsule()
    canonical = canonical_bytes(definition)
    for wrong in (
        sign(CAPSULE_PAYLOAD_TYPE, canonical, strange),
        sign("text/plain", canonical, key),
        base64.b64encode(key.sign(canonical)).decode(),
        signed_envelope(capsule(), key),
        "nonsense",
    ):
        body = submission(definition, attestation_signature=wrong, signer_key_id="ours")
        answer = await people.author.post("/v1/submissions", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "signature_invalid")


async def test_the_key_must_be_known(people: People) -> None:
    key = Ed25519PrivateKey.generate()
    definition = capsule()
    signature = signed_envelope(definition, key)
    body = submission(definition, attestation_signature=signature, signer_key_id="nobody's")
    answer = await people.author.post("/v1/submissions", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "signing_key_unknown")
    assert answer.json()["errors"][0]["path"] == "signer_key_id"
    for half in ({"attestation_signature": signature}, {"signer_key_id": "ours"}):
        answer = await people.author.post("/v1/submissions", json=submission(definition, **half))
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "missing")


async def test_a_key_revoked_during_the_review_blocks_approval(people: People) -> None:
    key = Ed25519PrivateKey.generate()
    await people.author.post("/v1/signing-keys", json={"public_key": public_pem(key.public_key()), "key_id": "ours"})
    definition = capsule()
    signature = signed_envelope(definition, key)
    found = await people.submit(definition, attestation_signature=signature, signer_key_id="ours")
    await people.author.delete("/v1/signing-keys/ours")
    body = submission(definition, attestation_signature=signature, signer_key_id="ours")
    refused = await people.author.put(f"/v1/submissions/{found['id']}", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "signing_key_unknown")

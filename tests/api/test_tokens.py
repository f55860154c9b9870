"""Who is let in: every forgery is refused, and nothing but the token decides the tenant."""

from __future__ import annotations

import base64
import hmac
import json
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from somagent.adapters.keys import KeyRing, ensure_keys, kid_of
from somagent.domain.errors import Code, SomaError
from somagent.services.tokens import TokenVerifier, mint
from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer

WHO = "/v1/probe/who"


def claims(**other: object) -> dict[str, Any]:
    now = int(time.time())
    sound = {
        "sub": "ann", "tenant_id": "acme", "capabilities": ["*"], "iat": now, "exp": now + 60,
        "jti": str(uuid.uuid4()), "constitution_hash": "0" * 64,
    }  # fmt: skip
    return {name: value for name, value in (sound | other).items() if value is not None}


@pytest.fixture
def ring(folder: Path) -> KeyRing:
    return KeyRing(folder / "keys")


def signed(ring: KeyRing, content: dict[str, Any], **header: object) -> str:
    key = ring.active
    return jwt.encode({"alg": "EdDSA", "kid": kid_of(key), **header}, content, key, algorithms=["EdDSA"])


def refused(ring: KeyRing, token: str) -> Code:
    with pytest.raises(SomaError) as refusal:
        TokenVerifier(ring).verify(token)
    return refusal.value.code


def segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def test_a_sound_token(ring: KeyRing) -> None:
    caller = TokenVerifier(ring).verify(signed(ring, claims(extra="ignored")))
    assert (caller.user_id, caller.tenant_id, caller.capabilities) == ("ann", "acme", frozenset({"*"}))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", ""])
def test_unsigned(ring: KeyRing, algorithm: str) -> None:
    head = segment({"alg": algorithm, "kid": kid_of(ring.active)})
    assert refused(ring, f"{head}.{segment(claims())}.") is Code.TOKEN_INVALID


def test_an_hmac_made_with_the_public_key(ring: KeyRing) -> None:
    for secret in (ring.active.as_pem(private=False), ring.active.as_der(private=False)):
        text = f"{segment({'alg': 'HS256', 'kid': kid_of(ring.active)})}.{segment(claims())}"
        mac = base64.urlsafe_b64encode(hmac.digest(secret, text.encode(), "sha256")).rstrip(b"=").decode()
        assert refused(ring, f"{text}.{mac}") is Code.TOKEN_INVALID


def test_another_key_under_our_id(ring: KeyRing) -> None:
    other = OKPKey.generate_key("Ed25519")
    header = {"alg": "EdDSA", "kid": kid_of(ring.active)}
    assert refused(ring, jwt.encode(header, claims(), other, algorithms=["EdDSA"])) is Code.TOKEN_INVALID


def test_a_key_that_the_token_brings_itself(ring: KeyRing) -> None:
    other = OKPKey.generate_key("Ed25519")
    header = {"alg": "EdDSA", "kid": other.thumbprint(), "jwk": other.as_dict(private=False)}
    assert refused(ring, jwt.encode(header, claims(), other, algorithms=["EdDSA"])) is Code.TOKEN_INVALID


@pytest.mark.parametrize("kid", ["unknown", "../../etc/passwd", "", None, 1, ["a"]])
def test_ids_of_keys_that_are_not_ours(ring: KeyRing, kid: object) -> None:
    good = signed(ring, claims())
    head = segment({"alg": "EdDSA", "kid": kid} if kid is not None else {"alg": "EdDSA"})
    assert refused(ring, ".".join([head, *good.split(".")[1:]])) is Code.TOKEN_INVALID


def test_changed_claims(ring: KeyRing) -> None:
    head, _, signature = signed(ring, claims(capabilities=["job:read"])).split(".")
    assert refused(ring, f"{head}.{segment(claims())}.{signature}") is Code.TOKEN_INVALID


def test_a_critical_header_that_nobody_knows(ring: KeyRing) -> None:
    good = signed(ring, claims())
    head = segment({"alg": "EdDSA", "kid": kid_of(ring.active), "crit": ["exp"], "exp": 1})
    assert refused(ring, ".".join([head, *good.split(".")[1:]])) is Code.TOKEN_INVALID


@pytest.mark.parametrize("missing", ["sub", "tenant_id", "capabilities", "exp", "iat", "jti", "constitution_hash"])
def test_every_claim_is_needed(ring: KeyRing, missing: str) -> None:
    assert refused(ring, signed(ring, claims(**{missing: None}))) is Code.TOKEN_INVALID


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sub", ""), ("sub", 5), ("sub", "a\nb"), ("tenant_id", "../x"), ("tenant_id", ""), ("capabilities", "*"),
        ("capabilities", [1]), ("exp", "9999999999"), ("exp", 1e12), ("iat", "x"), ("jti", ""), ("jti", "x" * 200),
        ("constitution_hash", "short"),
    ],
)  # fmt: skip
def test_every_claim_has_its_form(ring: KeyRing, name: str, value: object) -> None:
    assert refused(ring, signed(ring, claims(**{name: value}))) is Code.TOKEN_INVALID


def test_times(ring: KeyRing) -> None:
    now = int(time.time())
    assert refused(ring, signed(ring, claims(exp=now))) is Code.TOKEN_EXPIRED
    assert refused(ring, signed(ring, claims(exp=1))) is Code.TOKEN_EXPIRED
    assert refused(ring, signed(ring, claims(iat=now + 3_600, exp=now + 7_200))) is Code.TOKEN_INVALID


@pytest.mark.parametrize(
    "text", ["", "x", "a.b", "a.b.c", "a.b.c.d.e", "....", "é.é.é", "x" * 10_000, "{}.{}.{}", "\ud800"]
)
def test_what_is_no_token(ring: KeyRing, text: str) -> None:
    assert refused(ring, text) is Code.TOKEN_INVALID


def test_a_remembered_token_ends_too(ring: KeyRing) -> None:
    verifier = TokenVerifier(ring)
    token = mint(ring, "acme", "ann", ["*"], ttl=1)
    verifier.verify(token)
    time.sleep(1.1)
    with pytest.raises(SomaError) as refusal:
        verifier.verify(token)
    assert refusal.value.code is Code.TOKEN_EXPIRED


def test_a_revoked_token_is_asked_about_at_each_use(ring: KeyRing) -> None:
    revoked: set[str] = set()
    verifier = TokenVerifier(ring, lambda caller: Code.TOKEN_REVOKED if caller.jti in revoked else None)
    token = mint(ring, "acme", "ann", ["*"])
    revoked.add(verifier.verify(token).jti)
    with pytest.raises(SomaError) as refusal:
        verifier.verify(token)
    assert refusal.value.code is Code.TOKEN_REVOKED


def test_keys_are_private_and_rotate(folder: Path) -> None:
    ring = KeyRing(folder / "keys")
    before, old_token = kid_of(ring.active), mint(ring, "acme", "ann", ["*"])
    other_process = KeyRing(folder / "keys")
    assert kid_of(other_process.active) == before
    time.sleep(1.1)  # a ring looks at its folder once a second at most
    after = ring.rotate()
    assert after != before
    assert TokenVerifier(other_process).verify(mint(ring, "acme", "ann", ["*"])).user_id == "ann"
    assert TokenVerifier(other_process).verify(old_token).user_id == "ann"
    assert [entry["kid"] for entry in ring.public_keys()] == [after, before]
    assert all("d" not in entry for entry in ring.public_keys())
    ensure_keys(folder / "keys")
    assert len(list((folder / "keys").iterdir())) == 2
    assert (folder / "keys").stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (folder / "keys").iterdir())


def test_a_key_that_is_none_stops_the_start(folder: Path) -> None:
    ensure_keys(folder)
    (folder / "9.pem").write_bytes(OKPKey.generate_key("X25519").as_pem(private=True))
    with pytest.raises(ValueError, match="not an Ed25519 private key"):
        KeyRing(folder)


# over the socket


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic YTpi", "bearer", "Token x"])
def test_no_token(nobody: httpx.Client, header: str | None) -> None:
    answer = nobody.get(WHO, headers={} if header is None else {"Authorization": header})
    problem(answer, 401, "token_missing")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_bad_token(nobody: httpx.Client) -> None:
    answer = nobody.get(WHO, headers={"Authorization": "Bearer x.y.z"})
    problem(answer, 401, "token_invalid")
    assert answer.headers["www-authenticate"] == 'Bearer, error="invalid_token"'


def test_the_scheme_has_no_case(api: ApiServer, nobody: httpx.Client) -> None:
    assert nobody.get(WHO, headers={"Authorization": f"bEARER {api.token()}"}).status_code == 200


def test_a_missing_capability_is_named(api: ApiServer, nobody: httpx.Client) -> None:
    document = problem(nobody.get(WHO, headers=api.headers("acme", "ann", "job:submit")), 403, "capability_missing")
    assert "job:read" in document["detail"]


def test_everything_is_not_quite_everything(client: httpx.Client) -> None:
    assert client.get(WHO).json() == {"user": "ann", "tenant": "acme"}
    problem(client.get("/v1/probe/any-tenant"), 403, "capability_missing")


def test_the_tenant_header(api: ApiServer, client: httpx.Client) -> None:
    assert client.get(WHO, headers={"X-Tenant-ID": "acme"}).json()["tenant"] == "acme"
    for other in ("beta", "ACME", "acme ,beta", "../acme"):
        problem(client.get(WHO, headers={"X-Tenant-ID": other}), 403, "tenant_mismatch")


def test_any_tenant_acts_as_the_one_named(api: ApiServer, nobody: httpx.Client) -> None:
    mighty = api.headers("acme", "root", "*", "tenant:any")
    assert nobody.get(WHO, headers=mighty).json()["tenant"] == "acme"
    assert nobody.get(WHO, headers={**mighty, "X-Tenant-ID": "beta"}).json() == {"user": "root", "tenant": "beta"}
    for unknown in ("nobody-has-this", "../x", "a b"):
        problem(nobody.get(WHO, headers={**mighty, "X-Tenant-ID": unknown}), 404, "not_found")


def test_a_published_key_verifies_a_token(api: ApiServer, nobody: httpx.Client) -> None:
    token = api.token()
    keys = nobody.get("/.well-known/jwks.json").json()["keys"]
    assert {(key["kty"], key["crv"], key["alg"], key["use"]) for key in keys} == {("OKP", "Ed25519", "EdDSA", "sig")}
    assert all("d" not in key for key in keys)
    key = OKPKey.import_key(keys[0])
    assert jwt.decode(token, key, algorithms=["EdDSA"]).claims["sub"] == "ann"


def test_who_may_not_come_in_learns_nothing_about_the_body(api: ApiServer, nobody: httpx.Client) -> None:
    for content in (b"{", b'{"unknown": 1}', b""):
        headers = {"Content-Type": "application/json"}
        problem(nobody.post("/v1/probe/echo", content=content, headers=headers), 401, "token_missing")
        headers |= api.headers("acme", "ann", "job:submit")
        problem(nobody.post("/v1/probe/echo", content=content, headers=headers), 403, "capability_missing")

"""Tokens that no longer hold, in this process and in another one, and tokens that never did."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from somagent.adapters.keys import KeyRing, kid_of
from somagent.services.tokens import mint
from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer

NewUser = Callable[..., str]
LogIn = Callable[..., httpx.Response]
AsToken = Callable[[str], dict[str, str]]
WHO = "/v1/probe/who"


def soon(ask: Callable[[], httpx.Response], status: int, seconds: float = 5.0) -> float:
    """After how many seconds the answer has that status."""
    begun = time.monotonic()
    while ask().status_code != status:
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)
    return time.monotonic() - begun


@pytest.fixture
def other(other_api: ApiServer) -> httpx.Client:
    return httpx.Client(base_url=other_api.url, trust_env=False, timeout=30)


def test_a_revoked_token_is_refused_everywhere(
    api: ApiServer, nobody: httpx.Client, other: httpx.Client, new_user: NewUser, log_in: LogIn, as_token: AsToken
) -> None:
    token = log_in(new_user("job:read")).json()["token"]
    own = as_token(token)
    assert other.get(WHO, headers=own).status_code == 200
    answer = nobody.post("/v1/tokens/revoke", json={"token": token}, headers=own)
    assert answer.status_code == 200
    assert answer.json()["revoked"] is True
    problem(nobody.get(WHO, headers=own), 401, "token_revoked")
    soon(lambda: other.get(WHO, headers=own), 401)
    problem(other.get(WHO, headers=own), 401, "token_revoked")
    assert nobody.post("/v1/tokens/revoke", json={"token": token}, headers=api.headers()).status_code == 200


def test_who_may_revoke(api: ApiServer, nobody: httpx.Client, new_user: NewUser, log_in: LogIn) -> None:
    body = {"token": log_in(new_user("job:read")).json()["token"]}
    problem(nobody.post("/v1/tokens/revoke", json=body), 401, "token_missing")
    somebody = api.headers("acme", "somebody", "job:read")
    problem(nobody.post("/v1/tokens/revoke", json=body, headers=somebody), 403, "capability_missing")
    problem(nobody.post("/v1/tokens/revoke", json=body, headers=api.headers("beta", "root")), 404, "not_found")
    admin = api.headers("acme", "somebody", "identity:admin")
    assert nobody.post("/v1/tokens/revoke", json=body, headers=admin).status_code == 200


def test_an_expired_token_may_be_revoked(api: ApiServer, nobody: httpx.Client) -> None:
    token = mint(KeyRing(api.postgres.keys), "acme", "ann", ["*"], ttl=-10)
    answer = nobody.post("/v1/tokens/revoke", json={"token": token}, headers=api.headers())
    assert answer.status_code == 200


@pytest.mark.parametrize("token", ["x", "a.b.c", "x" * 9_000, "", None, 5])
def test_what_is_no_token_is_not_revoked(api: ApiServer, nobody: httpx.Client, token: object) -> None:
    problem(nobody.post("/v1/tokens/revoke", json={"token": token}, headers=api.headers()), 422, "validation_failed")


def test_verifying(api: ApiServer, nobody: httpx.Client, new_user: NewUser, log_in: LogIn, as_token: AsToken) -> None:
    user = new_user("job:read")
    token = log_in(user).json()["token"]

    def ask(asked: str, headers: dict[str, str]) -> dict[str, Any]:
        answer = nobody.post("/v1/tokens/verify", json={"token": asked}, headers=headers)
        assert answer.status_code == 200
        verdict: dict[str, Any] = answer.json()
        assert verdict["valid"] is verdict["active"]
        return verdict

    verdict = ask(token, as_token(token))
    assert verdict["valid"] is True
    assert (verdict["sub"], verdict["tenant_id"], verdict["capabilities"]) == (user, "acme", ["job:read"])
    assert verdict["exp"] - verdict["iat"] == 3600
    assert verdict["jti"]
    assert len(verdict["constitution_hash"]) == 64
    foreign = ask(token, api.headers("beta", "root"))
    assert set(foreign) == {"valid", "active", "reason", "detail"}
    assert (foreign["valid"], foreign["reason"]) == (False, "tenant_mismatch")
    assert user not in json.dumps(foreign)
    assert ask("x.y.z", api.headers())["reason"] == "token_invalid"
    expired = mint(KeyRing(api.postgres.keys), "acme", "ann", ["*"], ttl=-10)
    assert ask(expired, api.headers())["reason"] == "token_expired"
    nobody.post("/v1/tokens/revoke", json={"token": token}, headers=as_token(token))
    assert ask(token, api.headers())["reason"] == "token_revoked"
    problem(nobody.post("/v1/tokens/verify", json={"token": token}), 401, "token_missing")


def test_a_deleted_users_tokens(
    api: ApiServer, admin: httpx.Client, nobody: httpx.Client, other: httpx.Client, new_user: NewUser,
    log_in: LogIn, as_token: AsToken,
) -> None:  # fmt: skip
    user = new_user("job:read")
    own = as_token(log_in(user).json()["token"])
    operators = api.headers("acme", user, "job:read")
    assert other.get(WHO, headers=own).status_code == 200
    assert admin.delete(f"/v1/users/{user}").status_code == 204
    for headers in (own, operators):
        problem(nobody.get(WHO, headers=headers), 401, "token_revoked")
        soon(lambda headers=headers: other.get(WHO, headers=headers), 401)  # type: ignore[misc]
    again = {"user_id": user, "capabilities": ["job:read"], "password": "another person's password"}
    assert admin.post("/v1/users", json=again).status_code == 201
    problem(nobody.get(WHO, headers=own), 401, "token_revoked")
    fresh = log_in(user, password="another person's password").json()["token"]
    assert nobody.get(WHO, headers=as_token(fresh)).status_code == 200


def test_a_disabled_users_tokens_elsewhere(
    admin: httpx.Client, other: httpx.Client, new_user: NewUser, log_in: LogIn, as_token: AsToken
) -> None:
    user = new_user("job:read")
    own = as_token(log_in(user).json()["token"])
    assert other.get(WHO, headers=own).status_code == 200
    admin.patch(f"/v1/users/{user}", json={"disabled": True})
    soon(lambda: other.get(WHO, headers=own), 401)
    problem(other.get(WHO, headers=own), 401, "user_disabled")


def test_who_loses_a_capability_loses_their_tokens(
    admin: httpx.Client, nobody: httpx.Client, new_user: NewUser, log_in: LogIn, as_token: AsToken
) -> None:
    user = new_user("job:read", "job:submit")
    own = as_token(log_in(user).json()["token"])
    admin.patch(f"/v1/users/{user}", json={"capabilities": ["job:read", "job:submit", "memory:read"]})
    assert nobody.get(WHO, headers=own).status_code == 200
    admin.patch(f"/v1/users/{user}", json={"capabilities": ["job:submit"]})
    problem(nobody.get(WHO, headers=own), 401, "token_revoked")
    assert log_in(user).json()["capabilities"] == ["job:submit"]


# tokens that never held


def _segment(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _claims(**changes: object) -> dict[str, object]:
    now = int(time.time())
    usual = {"sub": "ann", "tenant_id": "acme", "capabilities": ["*"], "exp": now + 600, "iat": now, "jti": "j",
             "constitution_hash": "0" * 64}  # fmt: skip
    return usual | changes


def test_forged_tokens(api: ApiServer, nobody: httpx.Client) -> None:
    ring = KeyRing(api.postgres.keys)
    kid = kid_of(ring.active)
    public = nobody.get("/.well-known/jwks.json").json()["keys"][0]
    unsigned = ({"alg": alg, "kid": kid} for alg in ("none", "None", "NONE"))
    forged = [f"{_segment(header)}.{_segment(_claims())}." for header in unsigned]
    public_bytes = base64.urlsafe_b64decode(public["x"] + "=")
    for secret in (ring.active.as_pem(private=False), public_bytes, json.dumps(public).encode()):
        for alg in ("HS256", "EdDSA"):
            text = f"{_segment({'alg': alg, 'kid': kid})}.{_segment(_claims())}"
            mac = base64.urlsafe_b64encode(hmac.digest(secret, text.encode(), "sha256")).rstrip(b"=").decode()
            forged.append(f"{text}.{mac}")
    stranger = OKPKey.generate_key("Ed25519")
    headers = ({"alg": "EdDSA", "kid": kid}, {"alg": "EdDSA", "kid": stranger.thumbprint()}, {"alg": "EdDSA"})
    forged += [jwt.encode(header, _claims(), stranger, algorithms=["EdDSA"]) for header in headers]
    head, _, signature = api.token("acme", "ann", "job:read").split(".")
    forged.append(f"{head}.{_segment(_claims())}.{signature}")
    for token in forged:
        answer = nobody.get(WHO, headers={"Authorization": f"Bearer {token}"})
        problem(answer, 401, "token_invalid")
    expired = mint(ring, "acme", "ann", ["*"], ttl=-1)
    problem(nobody.get(WHO, headers={"Authorization": f"Bearer {expired}"}), 401, "token_expired")
    other = {"X-Tenant-ID": "beta", **api.headers("acme")}
    problem(nobody.get(WHO, headers=other), 403, "tenant_mismatch")

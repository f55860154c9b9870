"""From credentials to a token: passwords, API keys, what is asked for, and wrong tries."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OKPKey

from somagent.domain.policy.constitution import DEFAULT_HASH
from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer
from somagent.tests.identity.conftest import PASSWORD

NewUser = Callable[..., str]
LogIn = Callable[..., httpx.Response]
AsToken = Callable[[str], dict[str, str]]


def test_a_token_for_a_password(nobody: httpx.Client, new_user: NewUser, log_in: LogIn, as_token: AsToken) -> None:
    user = new_user("job:read", "job:submit")
    answer = log_in(user)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["expires_in"], body["token_type"]) == (3600, "bearer")
    assert body["capabilities"] == ["job:read", "job:submit"]
    assert answer.headers["cache-control"] == "no-store"
    key = OKPKey.import_key(nobody.get("/.well-known/jwks.json").json()["keys"][0])
    claims = jwt.decode(body["token"], key, algorithms=["EdDSA"]).claims
    assert (claims["sub"], claims["tenant_id"], claims["constitution_hash"]) == (user, "acme", DEFAULT_HASH)
    assert claims["exp"] - claims["iat"] == 3600
    assert nobody.get("/v1/probe/who", headers=as_token(body["token"])).json() == {"user": user, "tenant": "acme"}


def test_both_addresses(nobody: httpx.Client, new_user: NewUser) -> None:
    body = {"user_id": new_user("job:read"), "tenant_id": "acme", "password": PASSWORD}
    assert nobody.post("/tokens/issue", json=body).json()["token"].count(".") == 2


def test_only_what_is_owned(new_user: NewUser, log_in: LogIn) -> None:
    user = new_user("job:read", "job:submit")
    assert log_in(user, capabilities=["job:read"]).json()["capabilities"] == ["job:read"]
    refused = problem(log_in(user, capabilities=["job:read", "kill:global"]), 403, "capability_not_owned")
    assert "kill:global" in refused["detail"]
    for capability in ("*", "tenant:any", "job:control"):
        problem(log_in(user, capabilities=[capability]), 403, "capability_not_owned")
    mighty = new_user("*")
    assert log_in(mighty, capabilities=["*"]).json()["capabilities"] == ["*"]
    assert log_in(mighty, capabilities=["job:control"]).json()["capabilities"] == ["job:control"]
    problem(log_in(mighty, capabilities=["moderation:bypass"]), 403, "capability_not_owned")
    problem(log_in(mighty, capabilities=["jobs:all"]), 422, "validation_failed")


def test_wrong_is_wrong_whoever_it_is(new_user: NewUser, log_in: LogIn) -> None:
    known = problem(log_in(new_user("job:read"), password="not the password"), 401, "credentials_invalid")
    for wrong in (
        log_in("there-is-no-such-user"),
        log_in(new_user("job:read"), tenant_id="no-such-tenant"),
        log_in(new_user("job:read"), tenant_id="beta"),
        log_in(new_user("job:read"), api_key="soma_" + "x" * 43),
        log_in(new_user(password=None), password=PASSWORD),
    ):
        assert problem(wrong, 401, "credentials_invalid")["detail"] == known["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"password": None}, {"password": PASSWORD, "api_key": "soma_x"}, {"user_id": ""}, {"tenant_id": "../x"},
        {"user_id": None}, {"password": ""}, {"password": 5}, {"unknown": 1}, {"mfa_code": 123456},
    ],
)  # fmt: skip
def test_what_is_no_login(log_in: LogIn, body: dict[str, object]) -> None:
    answer = log_in("ann", **body)
    problem(answer, 422, "validation_failed")
    assert PASSWORD not in answer.text


@pytest.mark.parametrize("exists", [True, False])
def test_five_wrong_tries_lock(
    api: ApiServer, admin: httpx.Client, new_user: NewUser, log_in: LogIn, exists: bool
) -> None:
    user = new_user("job:read") if exists else "somebody-who-is-not"
    for _ in range(5):
        problem(log_in(user, password="wrong"), 401, "credentials_invalid")
    for password in ("wrong", PASSWORD):
        locked = log_in(user, password=password)
        problem(locked, 429, "account_locked")
        assert 25 <= int(locked.headers["retry-after"]) <= 30
    api.postgres.run("UPDATE login_failures SET locked_until = now() WHERE locked_until > now()")
    problem(log_in(user, password="wrong"), 401, "credentials_invalid")
    assert 55 <= int(log_in(user).headers["retry-after"]) <= 60
    if exists:
        admin.post(f"/v1/users/{user}/password", json={"new_password": PASSWORD})
        assert log_in(user).status_code == 200
        problem(log_in(user, password="wrong"), 401, "credentials_invalid")
        assert log_in(user).status_code == 200


def test_many_wrong_tries_at_once_are_five(new_user: NewUser, log_in: LogIn) -> None:
    user = new_user("job:read")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: log_in(user, password="wrong").json()["code"], range(12)))
    assert sorted(answers) == ["account_locked"] * 7 + ["credentials_invalid"] * 5


def test_many_right_ones_at_once_are_all_right(new_user: NewUser, log_in: LogIn) -> None:
    user = new_user("job:read")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: log_in(user).status_code, range(8))) == [200] * 8


def test_too_many_knocks(new_user: NewUser, log_in: LogIn) -> None:
    answers = [log_in("a-busy-name", api_key="soma_x") for _ in range(62)]
    assert {answer.status_code for answer in answers[:5]} == {401}
    problem(answers[-1], 429, "rate_limited")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert log_in(new_user("job:read")).status_code == 200


def test_an_api_key(admin: httpx.Client, new_user: NewUser, log_in: LogIn) -> None:
    user = new_user("job:read", "job:submit")
    made = admin.post(f"/v1/users/{user}/api-keys", json={"label": "ci", "capabilities": ["job:read"]})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    key, key_id = made.json()["api_key"], made.json()["id"]
    assert key.startswith("soma_")
    assert len(key) == 48
    assert log_in(user, api_key=key).json()["capabilities"] == ["job:read"]
    problem(log_in(user, api_key=key, capabilities=["job:submit"]), 403, "capability_not_owned")
    problem(log_in(user, api_key=key[:-1] + ("A" if key[-1] != "A" else "B")), 401, "credentials_invalid")
    problem(log_in(new_user("*"), api_key=key), 401, "credentials_invalid")
    listed = admin.get(f"/v1/users/{user}/api-keys")
    assert key not in listed.text
    assert [(item["id"], item["label"], item["prefix"]) for item in listed.json()["items"]] == [
        (key_id, "ci", key[:11])
    ]
    assert listed.json()["items"][0]["last_used_at"] is not None
    admin.patch(f"/v1/users/{user}", json={"capabilities": ["job:submit"]})
    assert log_in(user, api_key=key).json()["capabilities"] == []
    assert admin.delete(f"/v1/users/{user}/api-keys/{key_id}").status_code == 204
    assert admin.delete(f"/v1/users/{user}/api-keys/{key_id}").status_code == 204
    problem(log_in(user, api_key=key), 401, "credentials_invalid")
    problem(admin.delete(f"/v1/users/{user}/api-keys/nothing"), 404, "not_found")


def test_an_api_key_ends(api: ApiServer, admin: httpx.Client, new_user: NewUser, log_in: LogIn) -> None:
    user = new_user("job:read")
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    problem(admin.post(f"/v1/users/{user}/api-keys", json={"expires_at": past}), 422, "validation_failed")
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    key = admin.post(f"/v1/users/{user}/api-keys", json={"expires_at": future}).json()["api_key"]
    assert log_in(user, api_key=key).status_code == 200
    api.postgres.run("UPDATE api_keys SET expires_at = now() WHERE user_id = $1", user)
    problem(log_in(user, api_key=key), 401, "credentials_invalid")


def test_an_api_key_is_shown_once(api: ApiServer, admin: httpx.Client, new_user: NewUser) -> None:
    user = new_user("job:read")
    ask = {"headers": {"Idempotency-Key": f"key-of-{user}"}, "json": {"label": "x"}}
    first = admin.post(f"/v1/users/{user}/api-keys", **ask)  # type: ignore[arg-type]
    again = admin.post(f"/v1/users/{user}/api-keys", **ask)  # type: ignore[arg-type]
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["api_key"] is None
    assert again.json()["id"] == first.json()["id"]
    assert len(api.postgres.run("SELECT 1 FROM api_keys WHERE user_id = $1", user)) == 1


def test_nobody_makes_a_key_for_more_than_the_user_holds(admin: httpx.Client, new_user: NewUser) -> None:
    refused = admin.post(f"/v1/users/{new_user('job:read')}/api-keys", json={"capabilities": ["job:submit"]})
    problem(refused, 403, "capability_not_owned")


def test_ones_own_password_and_keys(nobody: httpx.Client, new_user: NewUser, log_in: LogIn, as_token: AsToken) -> None:
    user = new_user("job:read")
    own = as_token(log_in(user).json()["token"])
    assert nobody.post(f"/v1/users/{user}/api-keys", headers=own).status_code == 201
    path, new = f"/v1/users/{user}/password", "another battery staple"
    for body in ({"new_password": new}, {"new_password": new, "old_password": "wrong"}):
        problem(nobody.post(path, json=body, headers=own), 401, "credentials_invalid")
    short = nobody.post(path, json={"new_password": "short", "old_password": PASSWORD}, headers=own)
    problem(short, 422, "validation_failed")
    done = nobody.post(path, json={"new_password": new, "old_password": PASSWORD}, headers=own)
    assert done.status_code == 204
    problem(nobody.get(f"/v1/users/{user}", headers=own), 401, "token_revoked")
    problem(log_in(user), 401, "credentials_invalid")
    fresh = log_in(user, password=new)
    assert nobody.get(f"/v1/users/{user}", headers=as_token(fresh.json()["token"])).status_code == 200


def test_a_disabled_user(
    nobody: httpx.Client, admin: httpx.Client, new_user: NewUser, log_in: LogIn, as_token: AsToken
) -> None:
    user = new_user("job:read")
    key = admin.post(f"/v1/users/{user}/api-keys").json()["api_key"]
    own = as_token(log_in(user).json()["token"])
    assert admin.patch(f"/v1/users/{user}", json={"disabled": True}).json()["disabled"] is True
    problem(nobody.get("/v1/probe/who", headers=own), 401, "user_disabled")
    problem(log_in(user), 401, "user_disabled")
    problem(log_in(user, api_key=key), 401, "user_disabled")
    problem(log_in(user, password="wrong"), 401, "credentials_invalid")
    assert admin.patch(f"/v1/users/{user}", json={"disabled": False}).json()["disabled"] is False
    assert nobody.get("/v1/probe/who", headers=own).status_code == 200
    assert log_in(user).status_code == 200


def test_a_password_changed_meanwhile(api: ApiServer, admin: httpx.Client, new_user: NewUser, log_in: LogIn) -> None:
    """Of logins side by side with a change of the password, those that come too late get nothing."""
    user = new_user("job:read")
    with ThreadPoolExecutor(9) as pool:
        logins = [pool.submit(log_in, user) for _ in range(6)]
        changed = pool.submit(admin.post, f"/v1/users/{user}/password", json={"new_password": "another password"})
        assert changed.result().status_code == 204
        tokens = [done.json().get("token") for done in (login.result() for login in logins)]
    for token in filter(None, tokens):
        answer = httpx.get(f"{api.url}/v1/probe/who", headers={"Authorization": f"Bearer {token}"}, trust_env=False)
        problem(answer, 401, "token_revoked")


def test_redis_away(api: ApiServer, new_user: NewUser, log_in: LogIn) -> None:
    user = new_user("job:read")
    api.redis.kill()
    try:
        assert log_in(user).status_code == 200
        for _ in range(5):
            problem(log_in(user, password="wrong"), 401, "credentials_invalid")
        problem(log_in(user), 429, "account_locked")
    finally:
        api.redis.start()

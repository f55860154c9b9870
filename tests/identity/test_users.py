"""Users: who makes them, what they may be given, and who stays."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer
from somagent.tests.identity.conftest import PASSWORD

NewUser = Callable[..., str]
LogIn = Callable[..., httpx.Response]


def test_a_user_from_beginning_to_end(admin: httpx.Client) -> None:
    body = {
        "user_id": "cleo", "display_name": "Cleo", "email": "cleo@example.org",
        "capabilities": ["job:read", "job:submit"], "password": PASSWORD,
    }  # fmt: skip
    made = admin.post("/v1/users", json=body)
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/users/cleo"
    user = made.json()
    assert (user["id"], user["tenant_id"], user["email"]) == ("cleo", "acme", "cleo@example.org")
    assert (user["has_password"], user["mfa_enabled"], user["disabled"]) == (True, False, False)
    assert PASSWORD not in made.text
    assert "argon2" not in made.text
    assert admin.get("/v1/users/cleo").json() == user
    assert "cleo" in [item["id"] for item in admin.get("/v1/users", params={"limit": 200}).json()["items"]]
    changed = admin.patch("/v1/users/cleo", json={"display_name": "C.", "email": None})
    assert (changed.json()["display_name"], changed.json()["email"]) == ("C.", None)
    assert changed.json()["capabilities"] == ["job:read", "job:submit"]
    assert admin.put("/v1/users/cleo", json={"capabilities": ["job:read"]}).json()["capabilities"] == ["job:read"]
    assert admin.delete("/v1/users/cleo").status_code == 204
    problem(admin.get("/v1/users/cleo"), 404, "not_found")
    problem(admin.delete("/v1/users/cleo"), 404, "not_found")


def test_the_same_id_twice(admin: httpx.Client, new_user: NewUser) -> None:
    user = new_user()
    problem(admin.post("/v1/users", json={"user_id": user}), 409, "user_exists")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", ""), ("user_id", " x"), ("user_id", "a/b"), ("user_id", "x" * 300), ("user_id", None),
        ("email", "nobody"), ("capabilities", ["jobs:all"]), ("capabilities", "*"), ("password", "short"),
        ("password", "x" * 1_025), ("password", 12), ("display_name", "x" * 201), ("mfa_secret", "x"),
    ],
)  # fmt: skip
def test_bad_users(admin: httpx.Client, field: str, value: object) -> None:
    answer = admin.post("/v1/users", json={"user_id": "bad", "password": PASSWORD} | {field: value})
    problem(answer, 422, "validation_failed")
    assert PASSWORD not in answer.text
    assert "short" not in answer.text.replace("too_short", "")


def test_a_long_password_is_fine(log_in: LogIn, new_user: NewUser) -> None:
    password = "pâte à choux " * 70
    user = new_user(password=password)
    assert log_in(user, password=password).status_code == 200
    assert log_in(user, password=password[:-1]).status_code == 401


def test_nobody_gives_what_they_do_not_hold(api: ApiServer, nobody: httpx.Client, new_user: NewUser) -> None:
    headers = api.headers("acme", "small", "identity:admin", "job:read")
    body = {"user_id": "greedy", "capabilities": ["job:read", "job:submit"]}
    answer = problem(nobody.post("/v1/users", json=body, headers=headers), 403, "capability_not_owned")
    assert "job:submit" in answer["detail"]
    assert "job:read" not in answer["detail"]
    for wanted in (["*"], ["tenant:any"], ["moderation:bypass"]):
        refused = nobody.post("/v1/users", json={"user_id": "greedy", "capabilities": wanted}, headers=headers)
        problem(refused, 403, "capability_not_owned")
    everything = api.headers("acme", "root")
    refused = nobody.post("/v1/users", json={"user_id": "greedy", "capabilities": ["kill:global"]}, headers=everything)
    problem(refused, 403, "capability_not_owned")
    user = new_user("job:read")
    refused = nobody.patch(f"/v1/users/{user}", json={"capabilities": ["job:submit"]}, headers=headers)
    problem(refused, 403, "capability_not_owned")
    answer2 = nobody.patch(f"/v1/users/{user}", json={"capabilities": ["job:read", "identity:admin"]}, headers=headers)
    assert answer2.status_code == 200


def test_a_small_administrator_does_not_take_over_a_great_one(
    api: ApiServer, nobody: httpx.Client, new_user: NewUser
) -> None:
    great = new_user("*")
    headers = api.headers("acme", "small", "identity:admin")
    for path, body in (
        ("password", {"new_password": PASSWORD}),
        ("mfa/enroll", None),
        ("api-keys", {"label": "mine"}),
    ):
        refused = nobody.post(f"/v1/users/{great}/{path}", json=body, headers=headers)
        problem(refused, 403, "capability_not_owned")
    problem(nobody.delete(f"/v1/users/{great}/mfa", headers=headers), 403, "capability_not_owned")
    disabled = nobody.patch(f"/v1/users/{great}", json={"disabled": True}, headers=headers)
    assert disabled.status_code == 200
    enabled = nobody.patch(f"/v1/users/{great}", json={"disabled": False}, headers=headers)
    problem(enabled, 403, "capability_not_owned")


def test_who_may(api: ApiServer, nobody: httpx.Client, new_user: NewUser) -> None:
    user, other = new_user("job:read"), new_user("job:read")
    headers = api.headers("acme", user, "job:read")
    assert nobody.get(f"/v1/users/{user}", headers=headers).json()["id"] == user
    problem(nobody.get(f"/v1/users/{other}", headers=headers), 403, "capability_missing")
    problem(nobody.get("/v1/users/nobody-at-all", headers=headers), 403, "capability_missing")
    problem(nobody.get("/v1/users", headers=headers), 403, "capability_missing")
    problem(nobody.post("/v1/users", json={"user_id": "x"}, headers=headers), 403, "capability_missing")
    for body in ({"capabilities": ["*"]}, {"display_name": "me"}):
        problem(nobody.patch(f"/v1/users/{user}", json=body, headers=headers), 403, "capability_missing")
    problem(nobody.delete(f"/v1/users/{user}", headers=headers), 403, "capability_missing")
    problem(nobody.get(f"/v1/users/{user}"), 401, "token_missing")


def test_tenants_do_not_see_one_another(api: ApiServer, nobody: httpx.Client, new_user: NewUser) -> None:
    user = new_user("job:read")
    beta = api.headers("beta", "root")
    problem(nobody.get(f"/v1/users/{user}", headers=beta), 404, "not_found")
    problem(nobody.delete(f"/v1/users/{user}", headers=beta), 404, "not_found")
    problem(nobody.post(f"/v1/users/{user}/mfa/enroll", headers=beta), 404, "not_found")
    listed = nobody.get("/v1/users", params={"limit": 200}, headers=beta).json()["items"]
    assert user not in [item["id"] for item in listed]


def test_a_visitor_is_not_the_user_of_the_same_name(
    api: ApiServer, nobody: httpx.Client, admin: httpx.Client, new_user: NewUser
) -> None:
    user = new_user("job:read")
    visitor = {**api.headers("beta", user, "tenant:any"), "X-Tenant-ID": "acme"}
    problem(nobody.get(f"/v1/users/{user}", headers=visitor), 403, "capability_missing")
    problem(nobody.post(f"/v1/users/{user}/api-keys", headers=visitor), 403, "capability_missing")
    problem(nobody.post(f"/v1/users/{user}/mfa/enroll", headers=visitor), 403, "capability_missing")


def test_the_last_administrator_stays(api: ApiServer, nobody: httpx.Client) -> None:
    headers = {**api.headers("acme", "root", "*", "tenant:any")}
    assert api.issue("lonely").returncode == 0
    headers["X-Tenant-ID"] = "lonely"

    def ask(method: str, path: str, body: object = None) -> httpx.Response:
        return nobody.request(method, path, json=body, headers=headers)

    for name, capability in (("one", "identity:admin"), ("two", "*")):
        made = ask("POST", "/v1/users", {"user_id": name, "capabilities": [capability]})
        assert made.status_code == 201
    assert ask("PATCH", "/v1/users/one", {"disabled": True}).status_code == 200
    problem(ask("DELETE", "/v1/users/two"), 409, "last_administrator")
    problem(ask("PATCH", "/v1/users/two", {"disabled": True}), 409, "last_administrator")
    problem(ask("PATCH", "/v1/users/two", {"capabilities": ["job:read"]}), 409, "last_administrator")
    assert ask("PATCH", "/v1/users/two", {"capabilities": ["identity:admin"]}).status_code == 200
    assert ask("DELETE", "/v1/users/one").status_code == 204
    problem(ask("DELETE", "/v1/users/two"), 409, "last_administrator")
    assert ask("POST", "/v1/users", {"user_id": "three", "capabilities": ["*"]}).status_code == 201
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda name: ask("DELETE", f"/v1/users/{name}"), ("two", "three")))
    assert sorted(answer.status_code for answer in answers) == [204, 409]


def test_a_key_for_the_request(admin: httpx.Client) -> None:
    body = {"user_id": "once", "password": PASSWORD}
    headers = {"Idempotency-Key": "make-once"}
    first = admin.post("/v1/users", json=body, headers=headers)
    again = admin.post("/v1/users", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    other = admin.post("/v1/users", json=body | {"password": PASSWORD + "!"}, headers=headers)
    problem(other, 422, "idempotency_key_reused")


def test_operators_users_cannot_log_in_until_they_have_a_password(
    api: ApiServer, admin: httpx.Client, log_in: LogIn
) -> None:
    assert api.issue("acme", "made-by-the-operator").returncode == 0
    problem(log_in("made-by-the-operator"), 401, "credentials_invalid")
    set_it = admin.post("/v1/users/made-by-the-operator/password", json={"new_password": PASSWORD})
    assert set_it.status_code == 204
    answer = log_in("made-by-the-operator")
    assert (answer.status_code, answer.json()["capabilities"]) == (200, [])

"""Login with an OpenID Connect provider, which is a process of its own, and everything that it can get wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from somagent.deploy.local.ports import free_port
from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.identity.oidc_provider_process import CLIENT, SECRET
from somagent.tests.slm.redis_server import RedisServer

BEGIN, CALLBACK = "/v1/login/oidc", "/v1/login/oidc/callback"


@dataclass
class OidcApi(ApiServer):
    """The API with a provider configured."""

    issuer: str = ""

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {
            "SOMAGENT_OIDC_ISSUER": self.issuer,
            "SOMAGENT_OIDC_CLIENT_ID": CLIENT,
            "SOMAGENT_OIDC_CLIENT_SECRET": SECRET,
            "SOMAGENT_OIDC_REDIRECT_URL": f"{self.url}{CALLBACK}",
            "SOMAGENT_OIDC_TENANT": "acme",
            "SOMAGENT_OIDC_CAPABILITIES": "job:read, job:submit",
        }


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "somagent.tests.identity.oidc_provider_process", str(port)], env=os.environ
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(f"{url}/jwks", trust_env=False)
            break
        except httpx.HTTPError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield url
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def oidc_api(
    provider: str,
    api: ApiServer,
    identity_postgres: PostgresServer,
    identity_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OidcApi]:
    server = OidcApi(identity_postgres, identity_redis, tmp_path_factory.mktemp("oidc"), issuer=provider)
    server.start()
    yield server
    assert server.stop() == 0


@pytest.fixture
def browser(oidc_api: OidcApi, provider: str) -> Iterator[httpx.Client]:
    """Keeps cookies, and follows redirects when told to."""
    httpx.post(f"{provider}/behaviour", json={}, trust_env=False)
    with httpx.Client(base_url=oidc_api.url, trust_env=False, timeout=30) as opened:
        yield opened


def behave(provider: str, **how: object) -> None:
    httpx.post(f"{provider}/behaviour", json=how, trust_env=False).raise_for_status()


def log_in(browser: httpx.Client) -> httpx.Response:
    return browser.get(BEGIN, follow_redirects=True)


def test_from_the_browser_to_a_token(browser: httpx.Client, provider: str, oidc_api: OidcApi) -> None:
    begun = browser.get(BEGIN)
    assert begun.status_code == 302
    address = urlsplit(begun.headers["location"])
    query = {name: values[0] for name, values in parse_qs(address.query).items()}
    assert begun.headers["location"].startswith(f"{provider}/authorize?")
    assert (query["response_type"], query["client_id"], query["scope"]) == ("code", CLIENT, "openid profile email")
    assert query["code_challenge_method"] == "S256"
    cookie = begun.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    answer = log_in(browser)
    assert answer.status_code == 200, answer.text
    assert answer.json()["capabilities"] == ["job:read", "job:submit"]
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    assert browser.get("/v1/probe/who", headers=headers).json() == {"user": "jane", "tenant": "acme"}
    user = browser.get("/v1/users/jane", headers=headers).json()
    assert (user["email"], user["display_name"], user["oidc_issuer"]) == ("jane@example.org", "Jane Doe", provider)
    assert user["has_password"] is False
    again = log_in(browser)
    assert again.status_code == 200
    rows = oidc_api.postgres.run("SELECT id FROM users WHERE oidc_issuer = $1", provider)
    assert [row["id"] for row in rows] == ["jane"]


def test_an_administrators_word_goes_before(browser: httpx.Client, provider: str, oidc_api: OidcApi) -> None:
    behave(provider, claims={"sub": "kim", "preferred_username": "kim"})
    assert log_in(browser).status_code == 200
    admin = oidc_api.headers("acme", "root")
    browser.patch("/v1/users/kim", json={"capabilities": ["memory:read"]}, headers=admin)
    assert log_in(browser).json()["capabilities"] == ["memory:read"]
    browser.patch("/v1/users/kim", json={"disabled": True}, headers=admin)
    problem(log_in(browser), 401, "user_disabled")


def test_nobody_is_taken_over_by_name(browser: httpx.Client, provider: str, oidc_api: OidcApi) -> None:
    oidc_api.issue("acme", "boss")
    behave(provider, claims={"sub": "evil", "preferred_username": "boss"})
    token = log_in(browser).json()["token"]
    who = browser.get("/v1/probe/who", headers={"Authorization": f"Bearer {token}"}).json()["user"]
    assert who.startswith("boss-")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other.example"}, {"aud": "somebody-else"}, {"aud": []}, {"aud": [CLIENT, "another"]},
        {"aud": [CLIENT], "azp": "another"}, {"nonce": "another"}, {"nonce": None}, {"exp": 1}, {"exp": None},
        {"iat": 9_999_999_999}, {"sub": ""}, {"sub": None}, {"sub": "x" * 256}, {"iss": None}, {"aud": None},
    ],
)  # fmt: skip
def test_a_wrong_id_token(browser: httpx.Client, provider: str, claims: dict[str, object]) -> None:
    behave(provider, claims=claims)
    problem(log_in(browser), 401, "login_failed")


@pytest.mark.parametrize("signer", ["nobody", "client_secret", "public_key", "stranger"])
def test_a_wrong_signature(browser: httpx.Client, provider: str, signer: str) -> None:
    behave(provider, signed_by=signer)
    problem(log_in(browser), 401, "login_failed")


def test_the_providers_keys_change(browser: httpx.Client, provider: str) -> None:
    assert log_in(browser).status_code == 200
    behave(provider, new_key=True)
    time.sleep(10.5)  # keys are fetched anew every ten seconds at most
    assert log_in(browser).status_code == 200


def callback(browser: httpx.Client) -> str:
    """Where the provider sends the browser back to."""
    location: str = httpx.get(browser.get(BEGIN).headers["location"], trust_env=False).headers["location"]
    return location


def test_a_login_is_finished_once_and_where_it_was_begun(browser: httpx.Client) -> None:
    back = callback(browser)
    stranger = httpx.get(back, trust_env=False)
    problem(stranger, 401, "login_failed")
    cookies = dict(browser.cookies)
    assert browser.get(back).status_code == 200
    assert "soma_login" not in browser.cookies
    problem(httpx.get(back, cookies=cookies, trust_env=False), 401, "login_failed")


@pytest.mark.parametrize("query", ["code=x&state=y", "state=y", "error=access_denied&state=y"])
def test_what_was_never_begun(browser: httpx.Client, query: str) -> None:
    problem(browser.get(f"{CALLBACK}?{query}"), 401, "login_failed")


def test_a_refusal_and_a_wrong_code(browser: httpx.Client) -> None:
    state = parse_qs(urlsplit(callback(browser)).query)["state"][0]
    problem(browser.get(CALLBACK, params={"state": state, "error": "access_denied"}), 401, "login_failed")
    state = parse_qs(urlsplit(callback(browser)).query)["state"][0]
    problem(browser.get(CALLBACK, params={"state": state, "code": "guessed"}), 401, "login_failed")
    problem(browser.get(CALLBACK), 422, "validation_failed")


def test_redis_away(browser: httpx.Client, oidc_api: OidcApi) -> None:
    oidc_api.redis.kill()
    try:
        problem(browser.get(BEGIN), 503, "redis_unavailable")
    finally:
        oidc_api.redis.start()


def test_without_a_provider(nobody: httpx.Client) -> None:
    assert "SOMAGENT_OIDC_ISSUER" in problem(nobody.get(BEGIN), 422, "login_not_configured")["detail"]
    problem(nobody.get(CALLBACK, params={"code": "x", "state": "y"}), 422, "login_not_configured")


@pytest.mark.parametrize(
    ("issuer", "code"), [("http://provider.example", "login_not_configured"), ("http://127.0.0.1:1", "login_failed")]
)
def test_a_provider_that_is_none(
    api: ApiServer, identity_postgres: PostgresServer, identity_redis: RedisServer, tmp_path: Path, issuer: str,
    code: str,
) -> None:  # fmt: skip
    server = OidcApi(identity_postgres, identity_redis, tmp_path, issuer=issuer)
    server.start()
    try:
        answer = httpx.get(f"{server.url}{BEGIN}", trust_env=False)
        assert answer.json()["code"] == code
        assert SECRET not in answer.text + server.log_file.read_text()
    finally:
        server.stop()

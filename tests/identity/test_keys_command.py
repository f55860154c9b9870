"""``somagent keys``: rotation without downtime, and what keeps an old key from going."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from somagent.adapters.keys import KeyRing, kid_of
from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.identity.sealing import seal_everything
from somagent.tests.slm.redis_server import RedisServer

SOMAGENT = str(Path(sys.executable).parent / "somagent")
WHO = "/v1/probe/who"


@pytest.fixture
def server(identity_redis: RedisServer, tmp_path: Path) -> Iterator[ApiServer]:
    """A deployment of its own: its keys come and go."""
    postgres = PostgresServer()
    api = ApiServer(postgres, identity_redis, tmp_path)
    api.start()
    api.issue("acme")
    yield api
    api.stop()
    postgres.remove()


def command(api: ApiServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SOMAGENT, "keys", *arguments], env=api.environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_life_of_keys(server: ApiServer) -> None:
    client = httpx.Client(base_url=server.url, trust_env=False)

    def who(token: str) -> httpx.Response:
        return client.get(WHO, headers={"Authorization": f"Bearer {token}"})

    old_token = server.token()
    old = client.get("/.well-known/jwks.json").json()["keys"][0]["kid"]
    assert who(old_token).status_code == 200
    only = command(server, "retire", old)
    assert (only.returncode, "rotate" in only.stderr) == (2, True)

    rotated = command(server, "rotate")
    assert rotated.returncode == 0, rotated.stderr
    new = rotated.stdout.split()[-1]
    new_token = server.token()
    assert who(new_token).status_code == 200
    assert who(old_token).status_code == 200
    assert [key["kid"] for key in client.get("/.well-known/jwks.json").json()["keys"]] == [new, old]
    listed = json.loads(command(server, "list", "--output", "json").stdout)["keys"]
    assert [(key["kid"], key["signs"]) for key in listed] == [(new, True), (old, False)]
    assert old in command(server, "list").stdout
    told = server.postgres.run("SELECT tenant_id, actor, object FROM audit_intake WHERE action = 'key.rotated'")
    assert [tuple(row.values()) for row in told] == [("acme", "operator", f"key:{new}")]

    refused = command(server, "retire", old)
    assert refused.returncode == 1
    assert "--sign-again" in refused.stderr
    assert who(old_token).status_code == 200
    seal_everything(server.postgres)
    retired = command(server, "retire", old, "--sign-again")
    assert retired.returncode == 0, retired.stderr
    time.sleep(1.2)
    problem(who(old_token), 401, "token_invalid")
    assert who(new_token).status_code == 200
    assert [key["kid"] for key in client.get("/.well-known/jwks.json").json()["keys"]] == [new]
    versions = server.postgres.run("SELECT version, signer_key_id FROM constitutions ORDER BY version")
    assert [tuple(row.values()) for row in versions] == [(1, old), (2, new)]


def test_an_audit_head_keeps_its_key(server: ApiServer) -> None:
    with httpx.Client(base_url=server.url, headers=server.headers(), trust_env=False) as client:
        client.post("/v1/users", json={"user_id": "x"}).raise_for_status()
    seal_everything(server.postgres)
    old = kid_of(KeyRing(server.postgres.keys).active)
    command(server, "rotate")
    refused = command(server, "retire", old, "--sign-again")
    assert refused.returncode == 1
    assert "audit chains" in refused.stderr
    seal_everything(server.postgres)
    assert command(server, "retire", old).returncode == 0


def test_a_token_of_a_key_made_this_moment(server: ApiServer) -> None:
    """No process refuses it for not having looked yet."""
    ring = KeyRing(server.postgres.keys)
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        for _ in range(5):
            assert client.get(WHO, headers=server.headers()).status_code == 200
            ring.rotate()
            assert client.get(WHO, headers=server.headers()).status_code == 200


def test_wrong_use(folder_without_keys: Path) -> None:
    run: Callable[..., int] = lambda *more: subprocess.run(  # noqa: E731
        [SOMAGENT, "keys", *more, "--data-dir", str(folder_without_keys)],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=60,
    ).returncode  # fmt: skip
    assert run("list") == 1
    assert run("rotate") == 1
    assert run("retire", "x") == 1
    assert list(folder_without_keys.iterdir()) == []
    ring = KeyRing(folder_without_keys / "keys")
    assert run("retire", "unknown") == 2
    assert run("rotate") == 0
    assert run("retire", kid_of(ring.active)) == 3


@pytest.fixture
def folder_without_keys(tmp_path: Path) -> Path:
    return tmp_path

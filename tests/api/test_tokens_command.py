"""``somagent tokens issue``: an operator's command, and everything that can be wrong with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from somagent.tests.api.servers import ApiServer

SOMAGENT = str(Path(sys.executable).parent / "somagent")


def test_the_token_stands_alone_on_the_last_line(api: ApiServer, nobody: httpx.Client) -> None:
    done = api.issue("gamma", "gus")
    assert done.returncode == 0, done.stderr
    token = done.stdout.splitlines()[-1]
    assert token.count(".") == 2
    answer = nobody.get("/v1/probe/who", headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == {"user": "gus", "tenant": "gamma"}
    rows = api.postgres.run("SELECT daily_tokens FROM tenants WHERE id = 'gamma'")
    assert [row["daily_tokens"] for row in rows] == [1_000_000]
    assert api.postgres.run("SELECT true FROM users WHERE tenant_id = 'gamma' AND id = 'gus'")


def test_a_tenant_is_left_as_it_is(api: ApiServer) -> None:
    api.issue("delta")
    api.postgres.run("UPDATE tenants SET daily_tokens = 5 WHERE id = 'delta'")
    assert api.issue("delta", "another").returncode == 0
    assert [row["daily_tokens"] for row in api.postgres.run("SELECT * FROM tenants WHERE id = 'delta'")] == [5]


def test_only_what_was_asked_for(api: ApiServer, nobody: httpx.Client) -> None:
    done = api.issue("acme", "ann", "--capability", "job:submit", "--capability", "capsule:read")
    answer = nobody.get("/v1/probe/who", headers={"Authorization": f"Bearer {done.stdout.splitlines()[-1]}"})
    assert answer.json()["code"] == "capability_missing"


def test_a_short_life(api: ApiServer, nobody: httpx.Client) -> None:
    token = api.issue("acme", "ann", "--ttl", "1").stdout.splitlines()[-1]
    time.sleep(1.5)
    answer = nobody.get("/v1/probe/who", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tenant", "acme", "--user", "ann", "--capability", "jobs:all"), "capsule:override"),
        (("--tenant", "../acme", "--user", "ann"), "cannot be a tenant"),
        (("--tenant", "acme", "--user", ""), "cannot be a user"),
        (("--tenant", "acme", "--user", "ann", "--ttl", "0"), "--ttl"),
        (("--tenant", "acme", "--user", "ann", "--ttl", "x"), "--ttl"),
        (("--tenant", "acme"), "--user"),
        (("--tenant", "acme", "--user", "ann", "--unknown"), "--unknown"),
    ],
)
def test_wrong_use(api: ApiServer, arguments: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [SOMAGENT, "tokens", "issue", *arguments],
        env=api.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_reach(folder: Path) -> None:
    arguments = [SOMAGENT, "tokens", "issue", "--tenant", "acme", "--user", "ann", "--data-dir", str(folder / "none")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SOMAGENT_")}
    for extra in ({}, {"SOMAGENT_POSTGRES_SYSTEM_URL": "postgresql://x:y@127.0.0.1:1/z"}):
        done = subprocess.run(
            arguments, env=environment | extra, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 3, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert not (folder / "none").exists()

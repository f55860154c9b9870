"""A stack whose parts are killed, and a client that comes through it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
import httpx

from somagent.client import ApiError, SomaGent
from somagent.tests.harness import Stack
from somagent.tests.jobs.workbench import Json, Workbench

TENANT = "breakage"
PATIENCE = 240.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Breakable:
    """A running stack, its tenant at work, and the hand that kills."""

    stack: Stack
    bench: Workbench

    @classmethod
    @contextmanager
    def of(cls, stack: Stack) -> Iterator[Breakable]:
        """With three people of one tenant."""
        tokens = {user: _token(stack, user) for user in ("ada", "ben", "cyd")}
        with (
            SomaGent(stack.base_url, tokens["ada"]) as ada,
            SomaGent(stack.base_url, tokens["ben"]) as ben,
            SomaGent(stack.base_url, tokens["cyd"]) as cyd,
        ):
            yield cls(stack, Workbench(TENANT, stack.base_url, tokens, ada, ben, cyd))

    def kill(self, *names: str) -> None:
        """kill -9, by the ids that ``somagent status`` shows."""
        pids = self.stack.local.pids()
        for name in names:
            os.kill(pids[name], signal.SIGKILL)

    def healthy(self) -> None:
        """Wait until the supervisor has brought everything back."""
        deadline = time.monotonic() + PATIENCE
        while not all(part.healthy for part in self.stack.local.parts().values()):
            assert time.monotonic() < deadline, self.stack.local.parts()
            time.sleep(0.5)

    def publish(self, definition: Json) -> None:
        """Submit, approve and install a capsule, whoever dies meanwhile."""
        insist(lambda: self.bench.publish(definition))

    def take(self, capsule_id: str, inputs: Json, key: str) -> str:
        """A job, taken once however often it has to be asked for; its id."""
        body = {"capsule_id": capsule_id, "inputs": inputs}
        return str(insist(lambda: self.bench.ada.post("/v1/jobs", body, key=key))["id"])

    def sql(self, statement: str, *arguments: object) -> list[Any]:
        """A statement as the tables' owner."""

        async def ask() -> list[Any]:
            connection = await asyncpg.connect(self.stack.postgres_owner_url)
            try:
                return list(await connection.fetch(statement, *arguments))
            finally:
                await connection.close()

        return asyncio.run(ask())

    @contextmanager
    def locked(self, table: str) -> Iterator[Callable[[int], None]]:
        """Nobody reads or writes the table inside the block; yields a wait for so many who want to."""
        statement = f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
        loop = asyncio.new_event_loop()

        async def lock() -> asyncpg.Connection:
            connection = await asyncpg.connect(self.stack.postgres_owner_url)
            await connection.execute("BEGIN")
            await connection.execute(statement)
            return connection

        def held_up(count: int) -> None:
            deadline = time.monotonic() + PATIENCE
            while self.sql("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0] < count:
                assert time.monotonic() < deadline, f"nobody wanted {table}"
                time.sleep(0.2)

        connection = loop.run_until_complete(lock())
        try:
            yield held_up
        finally:
            loop.run_until_complete(connection.close())
            loop.close()

    def finished(self, job_ids: Sequence[str]) -> int:
        """How many of these jobs have ended."""
        statement = "SELECT count(*) FROM jobs WHERE id = ANY($1::uuid[]) AND finished_at IS NOT NULL"
        return int(self.sql(statement, list(job_ids))[0][0])

    def wait_for(self, job_ids: Sequence[str], count: int) -> None:
        """Wait until so many of these jobs have ended."""
        deadline = time.monotonic() + PATIENCE
        while self.finished(job_ids) < count:
            assert time.monotonic() < deadline, self.unfinished(job_ids)
            time.sleep(0.3)

    def unfinished(self, job_ids: Sequence[str]) -> list[dict[str, Any]]:
        """What hangs, for an assertion's message."""
        statement = (
            "SELECT j.id, j.status, j.current, s.step_id, s.status AS step_status, s.attempt, s.error FROM jobs j "
            "LEFT JOIN job_steps s ON s.job_id = j.id AND s.step_id = j.current "
            "WHERE j.id = ANY($1::uuid[]) AND j.finished_at IS NULL"
        )
        return [dict(row) for row in self.sql(statement, list(job_ids))]


def insist(call: Callable[[], T]) -> T:
    """Ask again while nobody answers, as a client does that was told to use an Idempotency-Key."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except (httpx.TransportError, ApiError) as error:
            passing = not isinstance(error, ApiError) or error.status >= 500 or error.code == "idempotency_in_progress"
            if not passing or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _token(stack: Stack, user: str) -> str:
    done = stack.local.run("tokens", "issue", "--tenant", TENANT, "--user", user)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.rstrip().splitlines()[-1]

"""A search: after people have logged in, worked and been refused, no secret of theirs lies anywhere."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
import pyotp
import pytest
from redis import Redis

from somagent.client import SomaGent
from somagent.deploy.local.ports import free_port
from somagent.examples.integration_flow import answer
from somagent.tests.harness import LocalStack, Stack, describe, new_stack
from somagent.tests.jobs.workbench import capsule

PHRASE = "grey herons over Brackwater"
RIGHT, WRONG = f"Seven {PHRASE}", f"Eight {PHRASE}"
HOOK = "T0PIER-9f2b6d1c-hook"
CAPABILITIES = ["*"]

STEPS = [
    {"id": "ask", "action": "slm.complete", "params": {"role": "summarization", "prompt": "High water is at noon."}},
    {"id": "keep", "action": "memory.remember", "params": {"text": "{{ steps.ask.output.completion }}"}},
    {"id": "tell", "action": "notifications.send", "params": {"channel": "ops", "message": "done", "severity": "info"}},
]


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    """A stack with a webhook that leads nowhere, so that its address shows in every complaint about it."""
    address = f"http://127.0.0.1:{free_port()}/services/{HOOK}?key={HOOK}"
    local: LocalStack = new_stack(
        SOMAGENT_WEBHOOKS=json.dumps({"ops": address}), SOMAGENT_EGRESS_ALLOW="127.0.0.1", SOMAGENT_LOG_LEVEL="debug"
    )
    try:
        local.up()
        yield describe(local)
    finally:
        local.destroy()


@pytest.mark.timeout(240)
def test_no_secret_lies_anywhere(own_stack: Stack) -> None:
    secrets = _live(own_stack)
    assert all(len(value) >= 6 for value in secrets.values())
    for place, content in (
        *_tables(own_stack),
        *_redis(own_stack.redis_url),
        *_files(own_stack.data_dir / "logs"),
        *_files(own_stack.data_dir / "redis"),  # what was written and deleted again, too
        *_files(own_stack.data_dir / "temporal"),
    ):
        for what, value in secrets.items():
            assert value.encode() not in content, f"the {what} lies in {place}"


def _live(stack: Stack) -> dict[str, str]:
    """People do what they do; every secret that took part."""
    operator = stack.local.run("tokens", "issue", "--tenant", "brackwater", "--user", "operator").stdout.split()[-1]
    who = {"tenant_id": "brackwater", "user_id": "ada"}
    with httpx.Client(base_url=stack.base_url, trust_env=False, timeout=60) as api:
        as_operator = {"Authorization": f"Bearer {operator}"}
        new = {"user_id": "ada", "password": RIGHT, "capabilities": CAPABILITIES}
        answer(api.post("/v1/users", json=new, headers={**as_operator, "Idempotency-Key": "ada"}))
        token = answer(api.post("/v1/tokens/issue", json={**who, "password": RIGHT}))["token"]
        assert api.post("/v1/tokens/issue", json={**who, "password": WRONG}).status_code == 401
        assert api.post("/v1/tokens/issue", json={**who, "password": 7}).status_code == 422
        as_ada = {"Authorization": f"Bearer {token}"}
        made = answer(api.post("/v1/users/ada/api-keys", json={}, headers={**as_ada, "Idempotency-Key": "key"}))
        api_key = next(value for value in made.values() if isinstance(value, str) and value.startswith("soma_")
                       and len(value) > 20)  # fmt: skip
        by_key = answer(api.post("/v1/tokens/issue", json={**who, "api_key": api_key}))["token"]
        enrolled = answer(api.post("/v1/users/ada/mfa/enroll", headers=as_ada))
        mfa_secret = str(enrolled["secret"])
        code = {"code": pyotp.TOTP(mfa_secret).now()}
        answer(api.post("/v1/users/ada/mfa/verify", json=code, headers=as_ada))
        _refused_in_every_way(api, token)
        session = answer(api.post("/v1/sessions", json={"prompt": "When is high water?"}, headers=as_ada))
        answer(api.post("/v1/tokens/verify", json={"token": token}, headers=as_ada))
        _work(stack, token, operator)
        assert api.delete(f"/v1/sessions/{session['session_id']}", headers=as_ada).status_code == 204
        answer(api.post("/v1/tokens/revoke", json={"token": by_key}, headers=as_ada))
        assert api.get("/v1/jobs", headers={"Authorization": f"Bearer {by_key}"}).status_code == 401
        answer(api.get("/v1/audit/export", headers=as_ada))
    time.sleep(2)  # logs and streams of what goes on in the background
    return {
        "operator's token": operator, "token": token, "revoked token": by_key, "token's signature": token[-40:],
        "password": PHRASE, "API key": api_key, "MFA secret": mfa_secret,
        "webhook's secret": HOOK,
    }  # fmt: skip


def _refused_in_every_way(api: httpx.Client, token: str) -> None:
    """Where a careless client leaves its token."""
    forged = token[:-4] + "AAAA"
    for headers in (
        {"Authorization": f"Bearer {forged}"},
        {"Authorization": token},
        {"Authorization": f"Basic {token}"},
    ):
        assert api.get("/v1/jobs", headers=headers).status_code == 401
    assert api.get("/v1/jobs", params={"access_token": token}).status_code == 401
    assert api.post(f"/v1/jobs?token={token}", content=b"{").status_code in (400, 401)


def _work(stack: Stack, token: str, operator: str) -> None:
    definition = capsule("secretless", STEPS)
    with SomaGent(stack.base_url, token, timeout=60) as ada, SomaGent(stack.base_url, operator, timeout=60) as other:
        submission = ada.submit_capsule(definition, owner="tests")
        other.review(submission["id"], "approve")
        ada.install(definition["id"])
        job = ada.wait(ada.run(definition["id"], {})["id"])
        assert job["status"] == "completed", job["error"]


def _tables(stack: Stack) -> list[tuple[str, bytes]]:
    """Every row of every table, as text."""

    async def run() -> list[tuple[str, bytes]]:
        connection = await asyncpg.connect(stack.postgres_owner_url)
        try:
            names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            found = []
            for name in sorted(row["tablename"] for row in names):
                rows = await connection.fetch(f'SELECT t::text AS row FROM "{name}" t')  # noqa: S608
                found.append((f"table {name}", "\n".join(row["row"] for row in rows).encode()))
            return found
        finally:
            await connection.close()

    tables = asyncio.run(run())
    filled = {name.removeprefix("table ") for name, content in tables if content}
    assert {"audit_entries", "job_events", "users", "session_turns", "idempotency_keys"} <= filled, filled
    return tables


def _redis(url: str) -> list[tuple[str, bytes]]:
    """Every key with all that it holds, as Redis itself would send it to another."""
    with Redis.from_url(url) as redis:
        found = []
        for key in redis.scan_iter(count=1000):
            name = key.decode(errors="replace")
            match redis.type(key):
                case b"stream":
                    content = repr(redis.xrange(key))
                case b"hash":
                    content = repr(redis.hgetall(key))
                case b"list":
                    content = repr(redis.lrange(key, 0, -1))
                case b"set":
                    content = repr(redis.smembers(key))
                case b"zset":
                    content = repr(redis.zrange(key, 0, -1))
                case _:
                    content = repr(redis.get(key))
            found.append((f"Redis' {name}", f"{name}\n{content}".encode()))
    assert any("gateway.audit" in name or "identity.audit" in name for name, _ in found)
    return found


def _files(folder: Path) -> list[tuple[str, bytes]]:
    found = [(str(path), path.read_bytes()) for path in folder.rglob("*") if path.is_file()]
    assert found, folder
    return found

"""From what was done to a document that anybody can check: on a real API, Postgres and the command."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from somagent.domain.audit.chain import read_json
from somagent.domain.audit.verification import verify_export
from somagent.services.audit.intake import Happening, take_in
from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer, PostgresServer


def happen(postgres: PostgresServer, tenant: str, *happenings: dict[str, Any]) -> None:
    """Take these in, as a service does."""

    async def run() -> None:
        connection = await asyncpg.connect(postgres.app_url)
        try:
            await connection.execute("SELECT set_config('soma.tenant', $1, false)", tenant)
            for happening in happenings:
                fields = {"actor": "ann", "action": "thing.done", "object": "thing:1", **happening}
                await take_in(connection, Happening(tenant_id=tenant, **fields))
        finally:
            await connection.close()

    asyncio.run(run())


def exported(client: httpx.Client, **query: Any) -> dict[str, Any]:
    """The document."""
    answer = client.get("/v1/audit/export", params=query)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


@pytest.fixture
def auditor(api: ApiServer, request: pytest.FixtureRequest) -> httpx.Client:
    """Somebody of a tenant that only this test has."""
    tenant = f"t{abs(hash(request.node.nodeid)) % 10**12}"
    api.issue(tenant)
    return httpx.Client(
        base_url=api.url, headers={**api.headers(tenant), "X-Tenant-ID": tenant}, trust_env=False, timeout=60
    )


def tenant_of(auditor: httpx.Client) -> str:
    """The test's own tenant."""
    return auditor.headers["X-Tenant-ID"]


def verify(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, without anything in its environment that leads to a server."""
    program = Path(sys.executable).parent / "somagent"
    return subprocess.run(
        [program, "audit", "verify", file, *arguments],
        env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


STRANGE = {
    "n": [0.1, 1.0, 1e300, -0.0, 2**53 - 1, 2**60, -(2**63), 5e-324, 1e21, 123456789.123456789],
    "text\x00": "é \u2028 \U0001f600 \x00 \x1f </script> ñ n\u0303",
    "deep": {"b": {"ß": None, "a": [True, False, {}]}, "": []},
}


def test_what_was_done_is_exported_and_verifies(
    auditor: httpx.Client, api: ApiServer, api_postgres: PostgresServer, tmp_path: Path
) -> None:
    happen(api_postgres, tenant_of(auditor), *({"detail": STRANGE, "object": f"thing:{n}\x00"} for n in range(3)))
    document = exported(auditor)
    assert [entry["seq"] for entry in document["entries"]] == list(range(1, len(document["entries"]) + 1))
    assert [entry["action"] for entry in document["entries"]][-4:] == ["thing.done"] * 3 + ["audit.exported"]
    assert document["header"]["entries"] == document["head"]["seq"] == len(document["entries"])
    file = tmp_path / "export.json"
    for form in ({}, {"indent": 4, "sort_keys": True}, {"ensure_ascii": True}):
        file.write_text(json.dumps(document, **form))
        done = verify(file)
        assert done.returncode == 0, done.stderr
        assert f"{len(document['entries'])} entries" in done.stdout
        assert "whole" in done.stdout

    keys = tmp_path / "jwks.json"
    keys.write_text(httpx.get(f"{api.url}/.well-known/jwks.json", trust_env=False).text)
    pinned = verify(file, "--key", str(keys))
    assert pinned.returncode == 0, pinned.stderr
    assert verify(file, "--key", document["head"]["kid"]).returncode == 0
    assert verify(file, "--key", "A" * 43).returncode == 1
    assert verify(file, "--key", str(tmp_path / "none.pem")).returncode == 2
    assert verify(tmp_path / "none.json").returncode == 2

    file.write_text(json.dumps({**document, "entries": document["entries"][:-1]}))
    cut = verify(file)
    assert cut.returncode == 1
    assert f"entry {len(document['entries'])}: the chain was cut off" in cut.stderr
    file.write_text(json.dumps(document)[:-20])
    assert verify(file).returncode == 1


def test_a_part_of_the_chain(auditor: httpx.Client, api_postgres: PostgresServer) -> None:
    happen(api_postgres, tenant_of(auditor), {}, {}, {})
    whole = exported(auditor)
    part = exported(auditor, since_seq=3)
    assert part["entries"][:-1] == whole["entries"][2:]
    assert verify_export(read_json(json.dumps(part))).whole
    problem(auditor.get("/v1/audit/export", params={"since_seq": 10**6}), 422, "validation_failed")
    assert auditor.get("/v1/audit/export", params={"since_seq": 0}).status_code == 422


def test_search_finds_what_was_done_at_once(auditor: httpx.Client, api_postgres: PostgresServer) -> None:
    happen(
        api_postgres, tenant_of(auditor),
        {"actor": "bob", "action": "user.created", "topic": "identity.audit"},
        {"action": "user.disabled", "outcome": "refused"}, {"object": "per%cent"},
    )  # fmt: skip

    def found(**query: str) -> list[str]:
        answer = auditor.get("/v1/audit", params=query)
        assert answer.status_code == 200, answer.text
        return [item["action"] for item in answer.json()["items"]]

    assert found(actor="bob") == ["user.created"]
    assert found(action="user.*") == ["user.disabled", "user.created"]
    assert found(topic="identity.audit", actor="bob") == ["user.created"]
    assert found(outcome="refused") == ["user.disabled"]
    assert found(object="per%*") == ["thing.done"]
    assert found(object="%*") == []
    entry = auditor.get("/v1/audit", params={"actor": "bob"}).json()["items"][0]
    assert found(since=entry["occurred_at"], action="user.*") == ["user.disabled", "user.created"]
    assert found(until=entry["occurred_at"], action="user.*") == []
    for bad in ("yesterday", "2026-01-01T00:00:00", "0001-01-01T00:00:00+23:59"):
        assert auditor.get("/v1/audit", params={"since": bad}).status_code == 422

    seen, cursor = [], None
    while True:
        query = {"limit": "2", "action": "*", **({"cursor": cursor} if cursor else {})}
        page = auditor.get("/v1/audit", params=query).json()
        seen += [item["seq"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == 1


def test_the_head_is_the_last_entry(auditor: httpx.Client, api_postgres: PostgresServer) -> None:
    happen(api_postgres, tenant_of(auditor), {})
    head = auditor.get("/v1/audit/head").json()
    last = auditor.get("/v1/audit", params={"limit": 1}).json()["items"][0]
    assert (head["seq"], head["hash"]) == (last["seq"], last["hash"])


def test_only_auditors_of_the_tenant_read(api: ApiServer, auditor: httpx.Client, api_postgres: PostgresServer) -> None:
    happen(api_postgres, tenant_of(auditor), {"object": "secret:thing"})
    with httpx.Client(base_url=api.url, trust_env=False) as other:
        for path in ("/v1/audit", "/v1/audit/head", "/v1/audit/export"):
            problem(other.get(path), 401, "token_missing")
            problem(other.get(path, headers=api.headers("beta", "ann", "job:read")), 403, "capability_missing")
        text = other.get("/v1/audit/export", headers=api.headers("beta")).text
    assert tenant_of(auditor) not in text

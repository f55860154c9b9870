"""Append-only is Postgres' doing, not ours: what the roles of the app and the relay cannot do."""

from __future__ import annotations

import asyncio

import asyncpg
import orjson
import pytest

from somagent.adapters.keys import KeyRing
from somagent.adapters.postgres.database import Database
from somagent.domain.audit.chain import GENESIS
from somagent.services.audit.intake import Happening, take_in
from somagent.services.audit.sealing import Sealer
from somagent.tests.api.servers import PostgresServer

_FORGED = "INSERT INTO audit_entries SELECT tenant_id, seq + 1000, topic, 'mallory', action, object, outcome, detail, "


@pytest.fixture(scope="module")
def chained(api_postgres: PostgresServer) -> PostgresServer:
    """Two tenants with three sealed entries and one taken in."""

    async def run() -> None:
        database = await Database.open(api_postgres.system_url, pool_size=2)
        try:
            sealer = Sealer(database, KeyRing(api_postgres.keys))
            for tenant in ("rights-a", "rights-b"):
                for seal in (True, False):
                    async with database.connection(tenant) as connection:
                        for _ in range(3 if seal else 1):
                            happening = Happening(tenant_id=tenant, actor="ann", action="a.b", object="c:1")
                            await take_in(connection, happening)
                    if seal:
                        assert await sealer.seal(tenant) == 3
        finally:
            await database.close()

    asyncio.run(run())
    return api_postgres


def attempt(url: str, statement: str, *arguments: object, tenant: str = "rights-a") -> object:
    """What a statement answers to this role, bound to the tenant."""

    async def run() -> object:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute("SELECT set_config('soma.tenant', $1, false)", tenant)
            return await connection.fetchval(statement, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


@pytest.mark.parametrize("role", ["app_url", "system_url"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET actor = 'mallory'",
        "UPDATE audit_entries SET detail = '{}' WHERE seq = 1",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
        "INSERT INTO audit_entries (tenant_id, seq, topic, actor, action, object, outcome, detail, occurred_at, "
        "previous_hash, hash) VALUES ('rights-a', 9, 't', 'a', 'b', 'c', 'done', '{}', now(), '', '')",
        "UPDATE audit_heads SET seq = 1",
        "DELETE FROM audit_heads",
        "INSERT INTO audit_heads VALUES ('rights-c', 1, '', '', '', now())",
        "UPDATE audit_intake SET actor = 'mallory'",
        "DELETE FROM audit_intake",
        "TRUNCATE audit_intake",
        "ALTER TABLE audit_entries DISABLE ROW LEVEL SECURITY",
        "DROP TABLE audit_entries",
        "CREATE OR REPLACE FUNCTION soma_seal_audit(p_tenant text, p_entries jsonb, p_signature text, p_kid text) "
        "RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    ],
)
def test_nobody_rewrites_what_happened(chained: PostgresServer, role: str, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        attempt(getattr(chained, role), statement)


def test_a_tenant_sees_and_seals_its_own_only(chained: PostgresServer) -> None:
    for table, rows in (("audit_entries", 3), ("audit_heads", 1), ("audit_intake", 1)):
        assert attempt(chained.app_url, f"SELECT count(*) FROM {table}") == rows  # noqa: S608
        seen = attempt(chained.app_url, f"SELECT count(*) FROM {table} WHERE tenant_id = 'rights-b'")  # noqa: S608
        assert seen == 0
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        attempt(
            chained.app_url,
            "INSERT INTO audit_intake (tenant_id, topic, actor, action, object, outcome) "
            "VALUES ('rights-b', 'agent.audit', 'a', 'b', 'c', 'done')",
        )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        attempt(chained.app_url, "SELECT soma_seal_audit('rights-b', '[]'::jsonb, 's', 'k')")


def test_sealing_takes_only_what_was_taken_in_and_only_at_the_end(chained: PostgresServer) -> None:
    intake = attempt(chained.owner_url, "SELECT min(id) FROM audit_intake WHERE tenant_id = 'rights-a'")
    foreign = attempt(chained.owner_url, "SELECT min(id) FROM audit_intake WHERE tenant_id = 'rights-b'")
    last = attempt(chained.owner_url, "SELECT hash FROM audit_heads WHERE tenant_id = 'rights-a'")

    def seal(*links: dict[str, object]) -> object:
        statement = "SELECT soma_seal_audit('rights-a', $1::text::jsonb, 'signature', 'kid')"
        return attempt(chained.app_url, statement, orjson.dumps(links).decode())

    link = {"intake_id": intake, "seq": 4, "previous_hash": last, "hash": "0" * 64}
    assert seal({**link, "seq": 1, "previous_hash": GENESIS}) is False
    assert seal({**link, "seq": 5}) is False
    assert seal({**link, "previous_hash": "f" * 64}) is False
    for wrong in ({**link, "intake_id": foreign}, {**link, "intake_id": 10**12}):
        with pytest.raises(asyncpg.IntegrityConstraintViolationError):
            seal(wrong)
    with pytest.raises(asyncpg.PostgresError):
        seal(link, {**link, "seq": 6})
    assert attempt(chained.owner_url, "SELECT seq FROM audit_heads WHERE tenant_id = 'rights-a'") == 3

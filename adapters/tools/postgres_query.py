"""postgres.query: one reading statement on a database that the operator named."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import asyncpg
from pydantic import BaseModel, JsonValue, SecretStr, TypeAdapter, ValidationError

from somagent.adapters.tools.heartbeat import beating
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.sql_values import decode_document, encode_document, from_json, to_json
from somagent.domain.actions.remote import PostgresQueryOutput, PostgresQueryParams
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject

MAX_ROWS = 10_000
MAX_RESULT_BYTES = 5 * 1024 * 1024

_ROWS_AT_ONCE = 50
_CONNECTIONS = 4
_CONNECT_SECONDS = 10.0
_PASSING = (
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
)

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class PostgresTool:
    """Reads from configured databases, each through a few connections of its own.

    Reading only is held by the server: every statement runs alone in a READ ONLY transaction. What its role may read,
    and which functions it may call, is for the operator to grant.

    Args:
        connections: JSON object {name: postgresql://...} (``settings.sql_connections``), or empty.

    Raises:
        ValueError: ``connections`` is no such object.
    """

    def __init__(self, connections: SecretStr) -> None:
        self._addresses = _addresses(connections)
        self._pools: dict[str, Pool] = {}
        self._opening = asyncio.Lock()

    async def execute(self, verb: str, params: BaseModel, context: ToolContext) -> BaseModel:
        """Run ``postgres.query``.

        Raises:
            SomaError: CONNECTION_UNKNOWN; PARAMS_INVALID; QUERY_NOT_READ_ONLY; QUERY_FAILED with the server's message
                (retryable where the server was not reached); RESPONSE_TOO_LARGE over 10,000 rows or 5 MiB;
                STEP_TIMED_OUT after ``context.timeout_seconds``.
        """
        if not isinstance(params, PostgresQueryParams):
            raise SomaError(Code.PARAMS_INVALID, f"postgres has no action {verb!r}.")
        if params.connection not in self._addresses:
            known = ", ".join(sorted(self._addresses)) or "none"
            raise SomaError(
                Code.CONNECTION_UNKNOWN,
                f"The operator configured no connection {params.connection!r}. Configured are: {known}.",
            )
        try:
            async with beating(context.heartbeat), asyncio.timeout(context.timeout_seconds):
                pool = await self._pool(params.connection)
                async with pool.acquire() as connection:
                    return PostgresQueryOutput(rows=await _query(connection, params, context.timeout_seconds))
        except (TimeoutError, asyncpg.QueryCanceledError):
            raise SomaError(
                Code.STEP_TIMED_OUT, f"The query was stopped: it ran longer than {context.timeout_seconds:g} seconds."
            ) from None
        except asyncpg.ReadOnlySQLTransactionError as error:
            raise SomaError(Code.QUERY_NOT_READ_ONLY, f"Only reading is allowed: {error}.") from None
        except _PASSING as error:
            raise SomaError(Code.QUERY_FAILED, f"{params.connection!r} said: {error}.", retryable=True) from None
        except asyncpg.PostgresError as error:
            raise SomaError(Code.QUERY_FAILED, f"{params.connection!r} said: {error}.") from None
        except asyncpg.DataError as error:
            raise SomaError(Code.PARAMS_INVALID, f"A parameter does not fit: {error}.") from None
        except (OSError, asyncpg.InterfaceError) as error:
            # The words of the error may hold the address, which is a secret.
            raise SomaError(
                Code.QUERY_FAILED,
                f"{params.connection!r} could not be reached ({type(error).__name__}).",
                retryable=isinstance(error, OSError),
            ) from None

    async def close(self) -> None:
        """Close every connection."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.close()

    async def _pool(self, name: str) -> Pool:
        async with self._opening:
            if name not in self._pools:
                self._pools[name] = await asyncpg.create_pool(
                    self._addresses[name].get_secret_value(),
                    min_size=0,
                    max_size=_CONNECTIONS,
                    max_inactive_connection_lifetime=60.0,
                    statement_cache_size=0,  # connections through pgbouncer keep no statements
                    timeout=_CONNECT_SECONDS,
                    init=_set_documents,
                    server_settings={
                        "application_name": "somagent",
                        "default_transaction_read_only": "on",
                        "timezone": "UTC",
                    },
                )
            return self._pools[name]


async def _set_documents(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=encode_document, decoder=decode_document)


async def _query(connection: Connection, params: PostgresQueryParams, seconds: float) -> list[JsonObject]:
    async with connection.transaction(readonly=True):
        await connection.execute("SELECT set_config('statement_timeout', $1, true)", str(max(int(seconds * 1000), 1)))
        statement = await connection.prepare(params.sql)
        columns = [attribute.name for attribute in statement.get_attributes()]
        if not columns:
            raise SomaError(
                Code.QUERY_NOT_READ_ONLY, "The statement gives no rows, so it does not only read. Use one that selects."
            )
        if len(set(columns)) < len(columns):
            raise SomaError(Code.QUERY_FAILED, "Two columns have the same name. Name them apart with AS.")
        cursor = await statement.cursor(*_arguments(params.parameters, statement.get_parameters()))
        return await _rows(cursor)


def _arguments(values: list[JsonValue], types: tuple[asyncpg.Type, ...]) -> list[object]:
    if len(values) != len(types):
        raise SomaError(Code.PARAMS_INVALID, f"The query takes {len(types)} parameters; {len(values)} are given.")
    arguments: list[object] = []
    for place, (value, kind) in enumerate(zip(values, types, strict=True), start=1):
        try:
            arguments.append(from_json(value, kind.name))
        except ValueError as error:
            raise SomaError(Code.PARAMS_INVALID, f"Parameter ${place}: {error}.") from None
    return arguments


async def _rows(cursor: Any) -> list[JsonObject]:
    rows: list[JsonObject] = []
    size = 0
    while found := await cursor.fetch(_ROWS_AT_ONCE):
        for record in found:
            row = {name: to_json(value) for name, value in record.items()}
            size += len(json.dumps(row, ensure_ascii=False).encode())
            rows.append(row)
            if len(rows) > MAX_ROWS or size > MAX_RESULT_BYTES:
                raise SomaError(
                    Code.RESPONSE_TOO_LARGE,
                    f"The query gives more than {MAX_ROWS:,} rows or {MAX_RESULT_BYTES:,} bytes. Add a LIMIT.",
                )
    return rows


def _addresses(connections: SecretStr) -> Mapping[str, SecretStr]:
    text = connections.get_secret_value()
    if not text.strip():
        return {}
    try:
        return TypeAdapter(dict[str, SecretStr]).validate_python(json.loads(text))
    except (ValidationError, json.JSONDecodeError):
        # The words of either error would hold passwords.
        raise ValueError("SOMAGENT_SQL_CONNECTIONS is not a JSON object of names and postgresql:// addresses") from None

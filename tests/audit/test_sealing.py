"""Sealing by several at once, and of much at once."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from somagent.adapters.keys import KeyRing
from somagent.adapters.postgres.database import Database
from somagent.domain.audit.chain import read_json
from somagent.domain.audit.verification import verify_export
from somagent.services.audit.intake import Happening, take_in
from somagent.services.audit.reading import prepare_export
from somagent.services.audit.sealing import BATCH, Sealer
from somagent.tests.api.servers import PostgresServer


@pytest.fixture
async def database(api_postgres: PostgresServer) -> AsyncIterator[Database]:
    """As the relay opens it."""
    opened = await Database.open(api_postgres.system_url, pool_size=12)
    yield opened
    await opened.close()


async def _happen(database: Database, tenant: str, times: int) -> None:
    async with database.connection(tenant) as connection:
        for number in range(times):
            happening = Happening(tenant_id=tenant, actor="ann", action="a.b", object=f"c:{number}")
            await take_in(connection, happening)


async def _export(database: Database, keys: KeyRing, tenant: str) -> bytes:
    async with database.connection(tenant) as connection:
        export = await prepare_export(connection, keys, tenant, 1, datetime.now(UTC))
    return b"".join([piece async for piece in export.document(database)])


async def _peak(database: Database, keys: KeyRing, first_seq: int) -> int:
    """The most bytes held while the chain is written from there on."""
    async with database.connection("long") as connection:
        export = await prepare_export(connection, keys, "long", first_seq, datetime.now(UTC))
    tracemalloc.start()
    async for _ in export.document(database):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


async def test_several_relays_and_readers_make_one_chain(database: Database, api_postgres: PostgresServer) -> None:
    sealers = [Sealer(database, KeyRing(api_postgres.keys)) for _ in range(4)]

    async def write() -> None:
        for _ in range(20):
            await _happen(database, "crowd", 3)

    async def relay(sealer: Sealer) -> None:
        for _ in range(25):
            await sealer.seal_all()

    async def reader(sealer: Sealer) -> None:
        for _ in range(25):
            await sealer.seal("crowd")

    await asyncio.gather(write(), write(), *(relay(one) for one in sealers), *(reader(one) for one in sealers))
    await sealers[0].seal("crowd")
    assert await sealers[0].seal("crowd") == 0
    found = verify_export(read_json(await _export(database, KeyRing(api_postgres.keys), "crowd")))
    assert found.whole, found.faults
    assert found.entries == 120


async def test_each_entry_is_told_on_its_topic_once(database: Database, api_postgres: PostgresServer) -> None:
    await _happen(database, "told", 3)
    await Sealer(database, KeyRing(api_postgres.keys)).seal("told")
    async with database.connection("told") as connection:
        rows = await connection.fetch(
            "SELECT payload->>'topic' AS topic, payload->>'type' AS type, (payload->>'seq')::int AS seq FROM outbox "
            "WHERE tenant_id = 'told' ORDER BY id"
        )
    assert [(row["topic"], row["type"], row["seq"]) for row in rows] == [("agent.audit", "a.b", n) for n in (1, 2, 3)]


async def test_after_a_rotation_the_old_head_still_verifies_and_the_new_key_signs(
    database: Database, api_postgres: PostgresServer
) -> None:
    keys = KeyRing(api_postgres.keys)
    await _happen(database, "rotated", 2)
    await Sealer(database, keys).seal("rotated")
    before = verify_export(read_json(await _export(database, keys, "rotated")))
    new = keys.rotate()
    between = json.loads(await _export(database, keys, "rotated"))
    assert verify_export(between, {before.kid}).whole
    await _happen(database, "rotated", 1)
    await Sealer(database, keys).seal("rotated")
    after = json.loads(await _export(database, keys, "rotated"))
    assert verify_export(after, {new}).whole
    assert not verify_export(after, {before.kid}).whole


async def test_a_long_chain_is_written_piece_by_piece(database: Database, api_postgres: PostgresServer) -> None:
    """Twenty batches take no more memory than two."""
    keys = KeyRing(api_postgres.keys)
    async with database.connection("long") as connection:
        await connection.execute(
            "INSERT INTO audit_intake (tenant_id, topic, actor, action, object, outcome, detail) "
            "SELECT 'long', 'agent.audit', 'ann', 'a.b', 'c:' || n, 'done', "
            "jsonb_build_object('text', repeat('x', 400)) FROM generate_series(1, $1::int) n",
            20 * BATCH,
        )
    assert await Sealer(database, keys).seal("long") == 20 * BATCH
    few, many = [await _peak(database, keys, first_seq) for first_seq in (18 * BATCH + 1, 1)]
    assert many < 1.5 * few
    assert verify_export(read_json(await _export(database, keys, "long"))).entries == 20 * BATCH

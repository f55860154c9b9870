"""A scope too large to look at everything: the indexes answer, and nobody is starved by the rest."""

from __future__ import annotations

import asyncpg
import pytest

from somagent.adapters.memory.embedder import Embedder
from somagent.adapters.postgres.database import Database
from somagent.adapters.slm.builtin import BuiltinProvider
from somagent.domain.actions.remote import RecallParams, RememberAllParams, RememberParams
from somagent.services.memory import Author, MemoryService
from somagent.services.memory.scope import Scope
from somagent.services.memory.search import by_meaning
from somagent.services.memory.words import by_words
from somagent.tests.api.servers import PostgresServer
from somagent.tests.memory.library import library_documents
from somagent.tests.memory.test_quality import QUESTIONS

LARGE = "large"
ANN = Author("api", "ann")


@pytest.fixture(scope="module")
async def crowd(database: Database, memory_postgres: PostgresServer) -> str:
    """A tenant with thousands of items, and a small namespace among them."""
    memory = MemoryService(BuiltinProvider())
    async with database.connection(LARGE) as connection, connection.transaction():
        params = RememberAllParams(documents=library_documents(), chunk_size=300, namespace="library")
        assert (await memory.remember_all(connection, LARGE, ANN, params)).count > 2_100
        for number in range(12):
            text = f"Voyage {number}: the ferry crossed the strait in {number + 3} hours."
            await memory.remember(connection, LARGE, ANN, RememberParams(text=text, namespace="log", tags=["ferry"]))
    owner = await asyncpg.connect(memory_postgres.owner_url)
    await owner.execute("VACUUM ANALYZE memories")
    await owner.close()
    return LARGE


async def test_the_index_finds_what_comparing_everything_finds(crowd: str, database: Database) -> None:
    embedder, scope = Embedder(BuiltinProvider()), Scope(crowd)
    shared = 0
    async with database.connection(crowd) as connection, connection.transaction():
        await connection.execute("SET LOCAL hnsw.ef_search = 200")
        for question in QUESTIONS:
            embedded = await embedder.embed(crowd, [question])
            exact = await by_meaning(connection, scope, embedded, 10, exact=True)
            indexed = await by_meaning(connection, scope, embedded, 10, exact=False)
            assert len(indexed) == 10
            shared += len(set(exact) & set(indexed))
    assert shared / (10 * len(QUESTIONS)) >= 0.95


async def test_words_choose_the_same_first_item_by_index(crowd: str, database: Database) -> None:
    scope = Scope(crowd)
    async with database.connection(crowd) as connection:
        for question in QUESTIONS:
            exact = await by_words(connection, scope, question, 50, exact=True)
            indexed = await by_words(connection, scope, question, 50, exact=False)
            assert set(exact[:3]) & set(indexed[:3]), question


async def test_a_small_namespace_or_tag_is_not_starved(crowd: str, database: Database, memory: MemoryService) -> None:
    async with database.connection(crowd) as connection:
        for params in (
            RecallParams(query="return a new string", namespace="log", limit=12),
            RecallParams(query="return a new string", filters={"tags": ["ferry"]}, limit=12),
        ):
            found = (await memory.recall(connection, crowd, params)).items
            assert len(found) == 12
            assert {item.provenance.namespace for item in found} == {"log"}


async def test_the_search_functions_hold_the_tenant(crowd: str, database: Database) -> None:
    async with database.connection("nobody") as connection:
        assert await by_words(connection, Scope(crowd), "ferry strait", 50, exact=False) == []
        assert await connection.fetchval("SELECT memory_term_counts(ARRAY['''ferri'''], NULL, 10)") == [0]
    async with database.connection(crowd) as connection:
        assert await connection.fetchval("SELECT memory_term_counts(ARRAY['''ferri'''], NULL, 10)") == [10]
        assert await connection.fetchval("SELECT memory_term_counts(ARRAY['''ferri'''], 'library', 10)") == [0]


async def test_the_word_index_is_used(crowd: str, database: Database) -> None:
    """Under row-level security a plain query reads every row; the functions must not."""
    scans = "SELECT idx_scan FROM pg_stat_all_indexes WHERE indexrelname = 'ix_memories_search'"
    async with database.connection(crowd) as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        before = await connection.fetchval(scans)
        await by_words(connection, Scope(crowd), "ferry", 50, exact=False)
        await connection.execute("SELECT pg_stat_force_next_flush()")
        assert await connection.fetchval(scans) > before

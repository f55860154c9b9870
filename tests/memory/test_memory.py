"""Remember, recall, retrieve and erase on a real Postgres, under row-level security."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest
from pydantic import JsonValue

from somagent.adapters.postgres.database import Database, TenantConnection
from somagent.domain.actions.local import Document
from somagent.domain.actions.remote import (
    MemoryItem,
    RecallParams,
    RememberAllParams,
    RememberParams,
    RetrieveParams,
)
from somagent.domain.errors import Code, SomaError
from somagent.domain.memory.citations import NOTHING_FITS
from somagent.domain.model import JsonObject
from somagent.services.memory import Author, MemoryService

ANN = Author(source="api", user_id="ann")


class Desk:
    """Memory as one tenant's person uses it."""

    def __init__(self, memory: MemoryService, connection: TenantConnection, tenant: str) -> None:
        self.memory, self.connection, self.tenant = memory, connection, tenant

    async def remember(self, text: str | None = None, author: Author = ANN, **fields: object) -> str:
        params = RememberParams.model_validate({"text": text, **fields})
        return (await self.memory.remember(self.connection, self.tenant, author, params)).memory_id

    async def recall(
        self, query: str, *, limit: int = 10, namespace: str | None = None, filters: JsonObject | None = None
    ) -> list[MemoryItem]:
        params = RecallParams(query=query, limit=limit, namespace=namespace, filters=filters or {})
        return (await self.memory.recall(self.connection, self.tenant, params)).items

    async def count(self) -> int:
        return int(await self.connection.fetchval("SELECT count(*) FROM memories"))


@pytest.fixture
def desk(memory: MemoryService, connection: TenantConnection, tenant: str) -> Desk:
    return Desk(memory, connection, tenant)


async def test_the_same_key_replaces_and_keeps_its_id_and_moment(desk: Desk) -> None:
    first = await desk.remember("The harbour opens at six.", key="harbour", tags=["a"])
    (before,) = await desk.recall("harbour")
    second = await desk.remember("The harbour opens at seven.", key="harbour", metadata={"by": "master"})
    (after,) = await desk.recall("harbour")
    assert first == second == after.memory_id
    assert (after.text, after.tags, after.metadata) == ("The harbour opens at seven.", [], {"by": "master"})
    assert after.provenance.created_at == before.provenance.created_at
    assert await desk.count() == 1


async def test_without_key_a_repeat_is_the_same_item(desk: Desk) -> None:
    values: list[JsonValue] = [{"b": 1, "a": [None, "x"]}, {"a": [None, "x"], "b": 1}, "plain", 7, False]
    ids = [await desk.remember(value=value) for value in values]
    assert ids[0] == ids[1]
    assert await desk.count() == 4
    (item, *_) = await desk.recall('"a" null')
    assert item.value == {"a": [None, "x"], "b": 1}
    assert item.text == '{"a":[null,"x"],"b":1}'


async def test_an_item_knows_where_it_comes_from(desk: Desk) -> None:
    job = uuid4()
    await desk.remember("Found by a job.", author=Author("job", "bob", job, "read"), key="from/job")
    item = await desk.memory.by_key(desk.connection, desk.tenant, "from/job", None)
    assert item.score == 1.0
    shown = item.provenance.model_dump()
    assert shown.pop("created_at").endswith("Z")
    assert shown == {
        "source": "job", "namespace": "default", "created_by": "bob", "job_id": str(job), "step_id": "read",
    }  # fmt: skip


async def test_by_key_takes_the_newest_of_all_namespaces(desk: Desk) -> None:
    await desk.remember("old", key="k", namespace="one")
    await desk.remember("new", key="k", namespace="two")
    assert (await desk.memory.by_key(desk.connection, desk.tenant, "k", None)).text == "new"
    assert (await desk.memory.by_key(desk.connection, desk.tenant, "k", "one")).text == "old"
    with pytest.raises(SomaError) as missing:
        await desk.memory.by_key(desk.connection, desk.tenant, "k", "three")
    assert missing.value.code is Code.MEMORY_NOT_FOUND


async def test_filters_narrow(desk: Desk) -> None:
    await desk.remember(
        "A note on sails.", key="docs/1", tags=["boat", "cloth"], metadata={"year": 2020, "in": {"x": 1}}
    )
    await desk.remember("A note on masts.", key="docs/2", tags=["boat"], metadata={"year": 2021})
    await desk.remember("A note on oars.", key="misc%3", author=Author("job", "bob", uuid4(), "s"), namespace="n")

    async def keys(namespace: str | None = None, **filters: JsonValue) -> set[str]:
        return {item.key for item in await desk.recall("note", namespace=namespace, filters=filters)}

    assert await keys() == {"docs/1", "docs/2", "misc%3"}
    assert await keys(tags=["boat"]) == {"docs/1", "docs/2"}
    assert await keys(tags=["boat", "cloth"]) == {"docs/1"}
    assert await keys(metadata={"year": 2021}) == {"docs/2"}
    assert await keys(metadata={"in": {"x": 1}}) == {"docs/1"}
    assert await keys(source="job") == {"misc%3"}
    assert await keys(key_prefix="docs/") == {"docs/1", "docs/2"}
    assert await keys(key_prefix="misc%") == {"misc%3"}
    assert await keys(key_prefix="%") == set()
    assert await keys("n") == {"misc%3"}
    assert await keys("n", tags=["boat"]) == set()


@pytest.mark.parametrize(
    "query",
    [
        "it's 'quoted' \\ and \"half",
        "a & | ! <-> :* ()",
        "-minus only",
        "((",
        "ünïcödé 港は六時",
        "x" * 20_000,
        "a\0b",
        "%_",
    ],
)
async def test_any_query_is_answered(desk: Desk, query: str) -> None:
    await desk.remember("Something to find, quoted and plain.")
    assert len(await desk.recall(query)) <= 1
    await desk.memory.retrieve(desk.connection, desk.tenant, RetrieveParams(query=query))


async def test_a_blank_query_finds_nothing(desk: Desk) -> None:
    await desk.remember("Something.")
    assert await desk.recall(" \n") == []


async def test_a_tenant_sees_nothing_of_another(desk: Desk, database: Database) -> None:
    secret = await desk.remember("The code of the vault is 4711.", key="vault")
    async with database.connection("somebody-else") as connection:
        other = Desk(desk.memory, connection, "somebody-else")
        assert await other.recall("code of the vault") == []
        answer = await other.memory.retrieve(connection, other.tenant, RetrieveParams(query="code of the vault"))
        assert (answer.answer, answer.sources) == (NOTHING_FITS, [])
        for refused in (
            other.memory.by_key(connection, other.tenant, "vault", None),
            other.memory.erase(connection, other.tenant, UUID(secret)),
        ):
            with pytest.raises(SomaError) as missing:
                await refused
            assert missing.value.code is Code.MEMORY_NOT_FOUND
        # Even a caller who claims the other tenant's name gets nothing: Postgres binds the connection.
        liar = Desk(desk.memory, connection, desk.tenant)
        assert await liar.recall("code of the vault") == []
        own = await other.remember("My own vault.", key="vault")
        assert own != secret
        await other.memory.erase(connection, other.tenant, UUID(own))
    assert await desk.count() == 1


async def test_erasing_leaves_nothing(desk: Desk) -> None:
    memory_id = UUID(await desk.remember("To be forgotten."))
    await desk.memory.erase(desk.connection, desk.tenant, memory_id)
    assert await desk.recall("forgotten") == []
    with pytest.raises(SomaError) as missing:
        await desk.memory.erase(desk.connection, desk.tenant, memory_id)
    assert missing.value.code is Code.MEMORY_NOT_FOUND


async def test_documents_are_remembered_in_pieces_and_replaced_as_a_whole(desk: Desk) -> None:
    long = "\n\n".join(f"Chapter {number} is about the {number}th lighthouse." for number in range(1, 41))

    async def keep(*documents: tuple[str, str]) -> list[str]:
        given = [Document(path=path, content=text, bytes=len(text.encode())) for path, text in documents]
        params = RememberAllParams(documents=given, namespace="book", tags=["sea"], chunk_size=200)
        async with desk.connection.transaction():
            output = await desk.memory.remember_all(desk.connection, desk.tenant, ANN, params)
        assert output.count == len(output.keys) == len(output.memory_ids)
        return output.keys

    keys = await keep(("a.md", long), ("b.md", "One piece."), ("empty.md", " \n"))
    assert len(keys) > 5
    assert keys[-1] == "b.md#1"
    assert await desk.count() == len(keys)
    (found, *_) = await desk.recall("37th lighthouse", namespace="book")
    assert "37th" in found.text
    assert found.metadata["path"] == "a.md"
    assert await keep(("a.md", "Only this is left.")) == ["a.md#1"]
    assert await desk.count() == 2
    assert await keep(("a.md", "")) == []
    assert await desk.count() == 1
    assert await keep(("c.md", "first"), ("c.md", "second")) == ["c.md#1"]
    assert (await desk.memory.by_key(desk.connection, desk.tenant, "c.md#1", "book")).text == "second"


async def test_many_first_writers_of_the_same_documents_all_succeed(database: Database, memory: MemoryService) -> None:
    for crowd in (f"crowd-{uuid4().hex[:8]}" for _ in range(5)):
        documents = [Document(path=f"{n}.md", content=f"Text {n}", bytes=6) for n in range(40)]

        async def write(order: int, tenant: str, documents: list[Document]) -> list[str]:
            params = RememberAllParams(documents=documents[::order])
            async with database.connection(tenant) as connection, connection.transaction():
                return (await memory.remember_all(connection, tenant, ANN, params)).memory_ids[::order]

        ids = await asyncio.gather(*(write(order, crowd, documents) for order in (1, -1, 1, -1)))
        assert ids[0] == ids[1] == ids[2] == ids[3]
        async with database.connection(crowd) as connection:
            assert await connection.fetchval("SELECT count(*) FROM memories") == 40

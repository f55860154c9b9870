"""Embeddings of a model server, over a real socket: another dimension, another model, a failing server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from somagent.adapters.postgres.database import TenantConnection
from somagent.adapters.settings import Settings
from somagent.adapters.slm.registry import providers_from
from somagent.domain.actions.remote import RecallParams, RememberParams
from somagent.domain.errors import Code, SomaError
from somagent.domain.slm.embedding import embed
from somagent.services.memory import Author, MemoryService
from somagent.tests.slm.model_server import ModelServer

ANN = Author("api", "ann")


def _embeddings(*vectors: list[float], model: str = "served") -> dict[str, object]:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return {"body": json.dumps({"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": 1}})}


@pytest.fixture
async def served() -> AsyncIterator[tuple[ModelServer, MemoryService]]:
    """A model server, and memory that takes its embeddings from it."""
    server = ModelServer()
    server.start()
    settings = Settings(
        slm_base_url=server.base_url, slm_embedding_model="served", slm_api_key=SecretStr(""), slm_model="served"
    )
    providers = providers_from(settings)
    yield server, MemoryService(providers.embedding)
    await providers.close()
    server.stop()


async def test_another_dimension_is_refused_with_what_to_do(
    served: tuple[ModelServer, MemoryService], connection: TenantConnection, tenant: str
) -> None:
    server, memory = served
    server.answers(_embeddings([0.5] * 8))
    with pytest.raises(SomaError) as refused:
        await memory.remember(connection, tenant, ANN, RememberParams(text="x"))
    assert refused.value.code is Code.EMBEDDING_DIMENSION_MISMATCH
    assert not refused.value.retryable
    for part in ("8 dimensions", "384", "SLM_EMBEDDING_MODEL"):
        assert part in refused.value.detail
    assert await connection.fetchval("SELECT count(*) FROM memories") == 0


async def test_vectors_of_another_model_are_not_compared_but_words_still_find(
    served: tuple[ModelServer, MemoryService], memory: MemoryService, connection: TenantConnection, tenant: str
) -> None:
    server, by_server = served
    await memory.remember(connection, tenant, ANN, RememberParams(text="The lantern is green.", key="old"))
    server.answers(_embeddings(embed("The lantern is red.").tolist()))
    await by_server.remember(connection, tenant, ANN, RememberParams(text="The lantern is red.", key="new"))
    found = (await by_server.recall(connection, tenant, RecallParams(query="lantern"))).items
    assert {item.key: item.score > 0.5 for item in found} == {"new": True, "old": False}


async def test_a_failing_model_server_is_told_as_it_is(
    served: tuple[ModelServer, MemoryService], connection: TenantConnection, tenant: str
) -> None:
    server, memory = served
    server.answers({"status": 503, "body": "{}"})
    with pytest.raises(SomaError) as failed:
        await memory.remember(connection, tenant, ANN, RememberParams(text="x"))
    assert failed.value.retryable

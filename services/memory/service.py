"""What jobs and people ask of memory. Everything happens on the connection given, within its transaction."""

from __future__ import annotations

from itertools import chain
from uuid import UUID

import asyncpg

from somagent.adapters.memory.embedder import Embedder
from somagent.adapters.slm.port import Provider
from somagent.domain.actions.remote import (
    MemoryItem,
    RecallOutput,
    RecallParams,
    RememberAllOutput,
    RememberAllParams,
    RememberOutput,
    RememberParams,
    RetrieveOutput,
    RetrieveParams,
    RetrieveSource,
)
from somagent.domain.memory.citations import NOTHING_FITS, Passage, compose
from somagent.domain.memory.filters import filters_of
from somagent.domain.memory.fitness import fitting
from somagent.domain.memory.items import DEFAULT_NAMESPACE, clean, item_of, pieces_of
from somagent.services.memory import store
from somagent.services.memory.scope import Scope
from somagent.services.memory.search import search
from somagent.services.memory.store import Author
from somagent.services.memory.words import matched_terms, question_terms

_CONSIDERED = 30
"""Items that an answer is looked for in, at least."""


class MemoryService:
    """Memory of every tenant; each call sees one.

    Args:
        embedding: gives the vectors of what is remembered and asked.
    """

    def __init__(self, embedding: Provider) -> None:
        self._embedder = Embedder(embedding)

    async def remember(
        self, connection: asyncpg.Connection, tenant_id: str, author: Author, params: RememberParams
    ) -> RememberOutput:
        """Keep an item; the same namespace and key again replaces it.

        Raises:
            SomaError: ``payload_too_large``, ``embedding_dimension_mismatch``.
        """
        item = item_of(params)
        embedded = await self._embedder.embed(tenant_id, [item.text])
        (memory_id,) = await store.put(connection, tenant_id, author, [item], embedded)
        return RememberOutput(memory_id=str(memory_id), key=item.key)

    async def remember_all(
        self, connection: asyncpg.Connection, tenant_id: str, author: Author, params: RememberAllParams
    ) -> RememberAllOutput:
        """Keep documents in pieces; a document remembered before is replaced as a whole.

        Raises:
            SomaError: ``embedding_dimension_mismatch``.
        """
        namespace = params.namespace or DEFAULT_NAMESPACE
        documents = {clean(document.path): document for document in params.documents}
        pieces = {
            path: pieces_of(document, namespace, params.tags, params.chunk_size) for path, document in documents.items()
        }
        await store.drop_later_pieces(
            connection, tenant_id, namespace, {path: len(items) for path, items in pieces.items()}
        )
        items = list(chain.from_iterable(pieces.values()))
        if not items:
            return RememberAllOutput(count=0, memory_ids=[], keys=[])
        embedded = await self._embedder.embed(tenant_id, [item.text for item in items])
        ids = await store.put(connection, tenant_id, author, items, embedded)
        return RememberAllOutput(
            count=len(items), memory_ids=[str(one) for one in ids], keys=[item.key for item in items]
        )

    async def recall(self, connection: asyncpg.Connection, tenant_id: str, params: RecallParams) -> RecallOutput:
        """Items nearest to the query by meaning and words, best first, with scores in (0, 1].

        The score is that of :func:`somagent.domain.memory.fusion.fuse`: it orders, and does not measure nearness.
        An empty query has no nearest items, and finds none.

        Raises:
            SomaError: ``params_invalid`` for filters that do not fit.
        """
        scope = Scope(tenant_id, params.namespace, filters_of(params.filters))
        return RecallOutput(items=await self._found(connection, scope, params.query, params.limit))

    async def retrieve(self, connection: asyncpg.Connection, tenant_id: str, params: RetrieveParams) -> RetrieveOutput:
        """An answer quoted from what is remembered, and the sources it rests on.

        Which sources fit, :func:`somagent.domain.memory.fitness.fitting` says. Where none does, the answer says so and
        there are none.
        """
        considered = max(params.limit, _CONSIDERED)
        async with connection.transaction():
            items = await self._found(connection, Scope(tenant_id, params.namespace), params.query, considered)
            terms = await question_terms(connection, clean(params.query))
            ids = [UUID(item.memory_id) for item in items]
            matched = await matched_terms(connection, tenant_id, ids, terms)
        fit = fitting(terms, matched)
        fitting_items = [item for item in items if UUID(item.memory_id) in fit]
        sources = [_source(number, item) for number, item in enumerate(fitting_items[: params.limit], start=1)]
        if not sources:
            return RetrieveOutput(answer=NOTHING_FITS, sources=[])
        answer = compose(params.query, [Passage(source.index, source.text) for source in sources])
        return RetrieveOutput(answer=answer, sources=sources)

    async def by_key(
        self, connection: asyncpg.Connection, tenant_id: str, key: str, namespace: str | None
    ) -> MemoryItem:
        """The item with exactly this key, its score 1; without a namespace, the newest of the tenant's.

        Raises:
            SomaError: ``memory_not_found``.
        """
        return await store.by_key(connection, tenant_id, clean(key), namespace)

    async def erase(self, connection: asyncpg.Connection, tenant_id: str, memory_id: UUID) -> None:
        """Forget an item for good.

        Raises:
            SomaError: ``memory_not_found``.
        """
        await store.erase(connection, tenant_id, memory_id)

    async def _found(self, connection: asyncpg.Connection, scope: Scope, query: str, limit: int) -> list[MemoryItem]:
        if not query.strip():
            return []
        embedded = await self._embedder.embed(scope.tenant_id, [query])
        async with connection.transaction():
            ranked = await search(connection, scope, query, embedded, limit)
            rows = await store.by_ids(connection, scope.tenant_id, [memory_id for memory_id, _ in ranked])
        return [store.item_view(rows[memory_id], score) for memory_id, score in ranked if memory_id in rows]


def _source(number: int, item: MemoryItem) -> RetrieveSource:
    return RetrieveSource(
        index=number,
        memory_id=item.memory_id,
        key=item.key,
        text=item.text,
        score=item.score,
        provenance=item.provenance,
    )

"""Vectors for memory, from the configured provider of embeddings, in the form in which pgvector reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from somagent.adapters.postgres.tables import EMBEDDING_DIMENSION
from somagent.adapters.slm.port import Provider
from somagent.domain.actions.remote import SlmRole
from somagent.domain.errors import Code, SomaError
from somagent.domain.slm.messages import SlmRequest
from somagent.domain.times import rfc3339

LONGEST: Final = 20_000
"""Characters of a text that its vector is made of; full text search sees all of it."""
_BATCH: Final = 128


@dataclass(frozen=True, slots=True)
class Embedded:
    """One vector for each text, in order, as ``[0.1,...]``; only vectors of one model can be compared."""

    vectors: list[str]
    model: str


class Embedder:
    """Asks a provider in this process, without the queue: remembering is part of the step's own transaction."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def embed(self, tenant_id: str, texts: Sequence[str]) -> Embedded:
        """The vectors of ``texts`` (at least one).

        Raises:
            SomaError: ``embedding_dimension_mismatch``; what the provider raises where it fails.
        """
        vectors: list[str] = []
        model = ""
        for start in range(0, len(texts), _BATCH):
            batch = [text[:LONGEST] or " " for text in texts[start : start + _BATCH]]
            answer = await self._provider.embed(_request(tenant_id, batch))
            model = answer.model
            vectors.extend(_literal(vector, model) for vector in answer.vectors)
        return Embedded(vectors, model)


def _request(tenant_id: str, texts: list[str]) -> SlmRequest:
    return SlmRequest(
        request_id="memory", tenant=tenant_id, role=SlmRole.EMBEDDINGS, kind="embed", input=texts,
        timestamp=rfc3339(datetime.now(UTC)),
    )  # fmt: skip


def _literal(vector: Sequence[float], model: str) -> str:
    if len(vector) != EMBEDDING_DIMENSION:
        raise SomaError(
            Code.EMBEDDING_DIMENSION_MISMATCH,
            f"The embedding model {model} gives {len(vector)} dimensions; this memory keeps {EMBEDDING_DIMENSION}. Set "
            f"SLM_EMBEDDING_MODEL to a model with {EMBEDDING_DIMENSION} dimensions (such as all-minilm or "
            "bge-small-en-v1.5), or unset it to use the built-in one.",
        )
    return f"[{','.join(map(repr, vector))}]"

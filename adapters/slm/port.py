"""What a provider of models is asked, and what it owes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from somagent.domain.actions.remote import SlmUsage
from somagent.domain.slm.messages import SlmRequest


@dataclass(frozen=True, slots=True)
class Completion:
    """``value`` is text, or the parsed and validated value where a schema was given; ``cost`` of the call or 0."""

    value: JsonValue
    model: str
    usage: SlmUsage
    cost: float = 0.0


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each input, in order, all of one dimension."""

    vectors: list[list[float]]
    model: str
    usage: SlmUsage
    cost: float = 0.0


class Provider(Protocol):
    """Answers requests. Each method raises :class:`~somagent.domain.errors.SomaError`, whose ``retryable`` and
    ``retry_after`` say whether and when asking again can help; the provider itself does not try again."""

    @property
    def name(self) -> str:
        """How operators know it: a label of metrics and logs."""
        ...

    async def complete(self, request: SlmRequest) -> Completion:
        """Answers a request of kind ``complete``."""
        ...

    async def embed(self, request: SlmRequest) -> Embeddings:
        """Answers a request of kind ``embed``."""
        ...

    async def close(self) -> None:
        """Gives back connections."""
        ...

"""What a model is told of a conversation: who speaks, what is known, what was said, and what is asked now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from somagent.domain.actions.remote import ChatMessage
from somagent.domain.capsules.definition import Persona
from somagent.domain.slm.tokens import estimate_tokens

EARLIER_TOKENS: Final = 3000
"""What earlier turns may take of a question, by estimate; older ones are left out."""
EARLIER_TURNS: Final = 20
KNOWN_TOKENS: Final = 2000
"""What remembered items may take of a question, by estimate; those that fit less are left out."""
ANSWER_TOKENS: Final = 512


@dataclass(frozen=True, slots=True)
class Exchange:
    """An earlier turn."""

    prompt: str
    answer: str


def conversation(
    prompt: str, *, persona: Persona | None = None, known: Iterable[str] = (), earlier: Sequence[Exchange] = ()
) -> list[ChatMessage]:
    """The messages of a turn: the persona, what is known (best first), the latest turns, then the prompt.

    Args:
        earlier: oldest first.
    """
    messages = [ChatMessage(role="system", content=text) for text in (_speaker(persona), _knowledge(known)) if text]
    for exchange in _latest(earlier):
        messages.append(ChatMessage(role="user", content=exchange.prompt))
        messages.append(ChatMessage(role="assistant", content=exchange.answer))
    return [*messages, ChatMessage(role="user", content=prompt)]


def most_tokens(prompt: str) -> int:
    """What a turn may take at most, before anything was recalled for it: the estimate that the policy judges by."""
    return estimate_tokens(prompt) + EARLIER_TOKENS + KNOWN_TOKENS + ANSWER_TOKENS


def _speaker(persona: Persona | None) -> str:
    if persona is None or not persona.system_prompt:
        return ""
    traits = f"\nYou are {', '.join(persona.traits)}." if persona.traits else ""
    return persona.system_prompt + traits


def _knowledge(known: Iterable[str]) -> str:
    kept = _within(dict.fromkeys(known), KNOWN_TOKENS)
    return "What is known:\n\n" + "\n\n".join(kept) if kept else ""


def _within(texts: Iterable[str], tokens: int) -> list[str]:
    kept: list[str] = []
    for text in texts:
        tokens -= estimate_tokens(text)
        if tokens < 0:
            break
        kept.append(text)
    return kept


def _latest(earlier: Sequence[Exchange]) -> list[Exchange]:
    kept: list[Exchange] = []
    left = EARLIER_TOKENS
    for exchange in reversed(earlier[-EARLIER_TURNS:]):
        left -= estimate_tokens(exchange.prompt) + estimate_tokens(exchange.answer)
        if left < 0:
            break
        kept.append(exchange)
    return kept[::-1]

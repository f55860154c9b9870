"""An estimate of tokens, for where no server counts them."""

from __future__ import annotations

import re
from typing import Final

from somagent.domain.actions.remote import ChatMessage

# One alternative a kind of piece; whitespace costs nothing, as byte-pair vocabularies glue a space to the next word.
_PIECES: Final = re.compile(
    r"(?P<ascii>[A-Za-z]+)"
    r"|(?P<digits>[0-9]+)"
    r"|(?P<ideograph>[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff])"
    r"|(?P<letters>[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+)"
    r"|(?P<newlines>\n+)"
    r"|(?P<other>[^\s\w]+|\w)"
)
_CHARS_PER_TOKEN: Final = {"ascii": 7, "digits": 3, "ideograph": 1, "letters": 4, "newlines": 8, "other": 2}
_TOKENS_PER_MESSAGE: Final = 4


def estimate_tokens(text: str) -> int:
    """The number of tokens that a byte-pair vocabulary of about 100,000 entries would make of ``text``.

    A heuristic, always to be reported as ``estimated``: an ASCII word is one token for each seven letters begun,
    digits one for three, other letters one for four, an ideograph one, punctuation one for two. On English prose
    this lies near the usual four characters a token; on code and rare languages it can be off by half.
    """
    total = 0
    for piece in _PIECES.finditer(text):
        per_token = _CHARS_PER_TOKEN[piece.lastgroup or "other"]
        total += -(-(piece.end() - piece.start()) // per_token)
    return total


def estimate_messages(messages: list[ChatMessage]) -> int:
    """The same for a conversation: each message adds about four tokens of framing."""
    return sum(estimate_tokens(message.content) + _TOKENS_PER_MESSAGE for message in messages)

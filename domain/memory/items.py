"""What is remembered: an item's identity, its text, and the pieces of a document."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from somagent.domain.actions.local import Document
from somagent.domain.actions.remote import RememberParams
from somagent.domain.canonical import canonical_bytes, sha256_hex
from somagent.domain.chunks import chunks
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject

DEFAULT_NAMESPACE: Final = "default"
"""Where an item goes that names no namespace."""
LARGEST_TEXT: Final = 200_000
"""Characters of one item's text."""
LARGEST_KEY: Final = 400


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to remember. Within a tenant, ``namespace`` and ``key`` name it: the same again replaces it."""

    namespace: str
    key: str
    text: str
    value: JsonValue = None
    tags: tuple[str, ...] = ()
    metadata: JsonObject = field(default_factory=dict)


def item_of(params: RememberParams) -> Item:
    """The item that ``memory.remember`` describes.

    Without ``text``, the text is the canonical JSON of ``value`` (a string is its own text). Without ``key``, the key
    is a digest of text and value, so that remembering the same twice gives one item.

    Raises:
        SomaError: ``payload_too_large`` where the value's text is over 200,000 characters; ``validation_failed``
            where the value has no canonical JSON.
    """
    text = params.text if params.text is not None else _text_of(params.value)
    if len(text) > LARGEST_TEXT:
        raise SomaError(
            Code.PAYLOAD_TOO_LARGE,
            f"The value's text has {len(text):,} characters; one item holds {LARGEST_TEXT:,}. Remember it in pieces.",
        )
    return Item(
        namespace=params.namespace or DEFAULT_NAMESPACE,
        key=clean(params.key) if params.key else f"sha256:{sha256_hex({'text': params.text, 'value': params.value})}",
        text=clean(text),
        value=params.value,
        tags=tuple(dict.fromkeys(map(clean, params.tags))),
        metadata=params.metadata,
    )


def pieces_of(document: Document, namespace: str, tags: Sequence[str], size: int) -> list[Item]:
    """A document as items of about ``size`` characters; piece ``n`` (from 1) has the key ``PATH#n``."""
    texts = chunks(document.content, size)
    return list(_pieces(clean(document.path), texts, namespace, tuple(dict.fromkeys(map(clean, tags)))))


def _pieces(path: str, texts: Sequence[str], namespace: str, tags: tuple[str, ...]) -> Iterator[Item]:
    for number, text in enumerate(texts, start=1):
        metadata: JsonObject = {"path": path, "piece": number, "pieces": len(texts)}
        yield Item(namespace, piece_key(path, number), clean(text), None, tags, metadata)


def piece_key(path: str, number: int) -> str:
    """``PATH#n``; a path that leaves no room for it keeps its end behind a digest of the whole."""
    suffix = f"#{number}"
    if len(path) + len(suffix) > LARGEST_KEY:
        digest = hashlib.sha256(path.encode()).hexdigest()[:16]
        path = f"{digest}…{path[-300:]}"
    return path + suffix


def clean(text: str) -> str:
    """Text that Postgres can hold: NUL characters, which it cannot, become U+FFFD."""
    return text.replace("\x00", "\ufffd")


def _text_of(value: JsonValue) -> str:
    return value if isinstance(value, str) else canonical_bytes(value).decode()

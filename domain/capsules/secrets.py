"""Finding what looks like a secret in a definition, by the shapes that their issuers document."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import JsonValue

_SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a private key", re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----")),
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})")),
    ("a Slack token", re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{10,}")),
    ("an API key of a model provider", re.compile(r"\bsk-(?:[A-Za-z0-9]+-)?[A-Za-z0-9_-]{20,}")),
    ("a JSON Web Token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
    ("a password in an address", re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@{}]+:[^\s/@{}]{3,}@", re.IGNORECASE)),
)


def secrets_in(value: JsonValue, path: str = "") -> Iterator[tuple[str, str]]:
    """Where a secret seems to stand, and of what kind; the secret itself is not repeated."""
    if isinstance(value, str):
        yield from ((path, kind) for kind, shape in _SHAPES if shape.search(value))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from secrets_in(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from secrets_in(item, f"{path}[{index}]")

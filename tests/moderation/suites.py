"""The suites of prompts, as data: attacks with the category they belong to, and look-alikes that nobody should flag."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Attack:
    """A prompt that has to be flagged."""

    category: str
    text: str


def attacks() -> list[Attack]:
    """Every attack, obfuscated ones included."""
    return [Attack(**orjson.loads(line)) for line in (_DATA / "attacks.jsonl").read_text().splitlines()]


def benign() -> list[str]:
    """Every benign look-alike."""
    return [orjson.loads(line)["text"] for line in (_DATA / "benign.jsonl").read_text().splitlines()]

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


def attacks(name: str = "attacks") -> list[Attack]:
    """Every attack, obfuscated ones included; ``unseen_attacks`` are those that no word was chosen for."""
    return [Attack(**orjson.loads(line)) for line in (_DATA / f"{name}.jsonl").read_text().splitlines()]


def benign(name: str = "benign") -> list[str]:
    """Every benign look-alike; ``unseen_benign`` are those that no word was chosen for."""
    return [orjson.loads(line)["text"] for line in (_DATA / f"{name}.jsonl").read_text().splitlines()]

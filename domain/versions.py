"""Semantic versions 2.0 and ranges over them.

A range is exact (``1.2.3``), a caret or tilde (``^1.2``, ``~1.2``), a wildcard (``1.x``, ``*``) or comparisons joined
by spaces or commas (``>=1.0.0 <2.0.0``); ``||`` separates alternatives. The rules are those of npm: a pre-release
matches only where the range itself names a pre-release of the same version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from semantic_version import NpmSpec, Version

from somagent.domain.errors import Code, SomaError

# The grammar given at semver.org, ASCII digits only.
_SEMVER = re.compile(
    r"(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)"
    r"(?:-(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_MAX_LENGTH = 128


def is_version(text: str) -> bool:
    """Whether ``text`` is a strict semantic version 2.0: no leading ``v``, no missing part, no leading zero."""
    return len(text) <= _MAX_LENGTH and _SEMVER.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def parse_version(text: str) -> Version:
    """The version that ``text`` names.

    Raises:
        SomaError: VALIDATION_FAILED where it is not a strict semantic version.
    """
    if not is_version(text):
        raise SomaError(
            Code.VALIDATION_FAILED, f"{text[:_MAX_LENGTH]!r} is not a semantic version such as 1.2.3 or 1.2.3-rc.1."
        )
    return Version(text)


@lru_cache(maxsize=1024)
def parse_range(text: str) -> NpmSpec:
    """The range that ``text`` describes.

    Raises:
        SomaError: VALIDATION_FAILED where it is none.
    """
    compact = re.sub(r"(?<![0-9A-Za-z])==(?=[0-9])", "=", text.strip())
    compact = re.sub(r"\s*,\s*", " ", compact)
    compact = re.sub(r"(>=|<=|>|<|=|\^|~)\s+", r"\1", compact)
    try:
        if not compact or len(compact) > _MAX_LENGTH or not compact.isascii():
            raise ValueError(compact)
        return NpmSpec(compact)
    except ValueError:
        raise SomaError(
            Code.VALIDATION_FAILED,
            f"{text[:_MAX_LENGTH]!r} is not a version range; write 1.2.3, ^1.2, ~1.2, 1.x or '>=1.0.0 <2.0.0'.",
        ) from None


def matches(version: str, version_range: str) -> bool:
    """Whether ``version`` lies in ``version_range``; raises as :func:`parse_version` and :func:`parse_range` do."""
    return bool(parse_range(version_range).match(parse_version(version)))


def newest(versions: Iterable[str], version_range: str | None = None) -> str | None:
    """The version of highest precedence among those in ``version_range``, or None.

    Without a range a release is preferred to any pre-release. Versions that differ in build metadata only have the same
    precedence; the first given wins.
    """
    parsed = [(text, parse_version(text)) for text in versions]
    if version_range is not None:
        wanted = parse_range(version_range)
        parsed = [pair for pair in parsed if wanted.match(pair[1])]
    elif any(not version.prerelease for _, version in parsed):
        parsed = [pair for pair in parsed if not pair[1].prerelease]
    if not parsed:
        return None
    return max(parsed, key=lambda pair: pair[1].precedence_key)[0]


def by_precedence(versions: Iterable[str]) -> list[str]:
    """The versions from lowest to highest precedence (semver 2.0, section 11), equal ones in the order given."""
    return sorted(versions, key=lambda text: parse_version(text).precedence_key)

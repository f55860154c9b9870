"""Semantic versions and ranges over them."""

from __future__ import annotations

import random

import pytest

from somagent.domain.errors import SomaError
from somagent.domain.versions import by_precedence, is_version, matches, newest, parse_range

# semver.org, section 11.4
_ORDER = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
          "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"]  # fmt: skip


def test_precedence_is_that_of_semver_org() -> None:
    shuffled = random.Random(7).sample(_ORDER, len(_ORDER))
    assert by_precedence(shuffled) == _ORDER


@pytest.mark.parametrize("text", ["1.2.3", "0.0.0", "1.2.3-rc.1+build.5", "1.0.0--", "10.20.30"])
def test_versions(text: str) -> None:
    assert is_version(text)


@pytest.mark.parametrize(
    "text", ["1.2", "1", "v1.2.3", "01.2.3", "1.2.3-01", "1.2.3.4", " 1.2.3", "1.2.3\n", "1.2.3-", "١.2.3", "", "x"]
)
def test_no_versions(text: str) -> None:
    assert not is_version(text)


@pytest.mark.parametrize(
    ("version_range", "inside", "outside"),
    [
        ("1.2.3", "1.2.3", "1.2.4"),
        ("=1.2.3", "1.2.3", "1.2.2"),
        ("==1.2.3", "1.2.3", "1.2.2"),
        ("^1.2", "1.9.0", "2.0.0"),
        ("^1.2.3", "1.2.3", "1.2.2"),
        ("~1.2", "1.2.9", "1.3.0"),
        ("1.x", "1.99.0", "2.0.0"),
        (">=1.0.0 <2.0.0", "1.5.0", "2.0.0"),
        (">=1.0.0, <2.0.0", "1.0.0", "0.9.0"),
        (">=1.0.0,<2.0.0", "1.0.0", "2.0.0"),
        (">= 1.0.0", "3.0.0", "0.9.9"),
        ("1.0.0 || >=3.0.0", "3.1.0", "2.0.0"),
        ("^1.0.0", "1.1.0", "1.1.0-rc.1"),
        (">=1.1.0-rc.1 <2.0.0", "1.1.0-rc.2", "1.2.0-rc.1"),
    ],
)
def test_ranges(version_range: str, inside: str, outside: str) -> None:
    assert matches(inside, version_range)
    assert not matches(outside, version_range)


@pytest.mark.parametrize("text", ["", "  ", "abc", "^", ">=x.y", "1.2.3.4", "^1.2 && 3", "1" * 200])
def test_no_ranges(text: str) -> None:
    with pytest.raises(SomaError, match="not a version range"):
        parse_range(text)


def test_newest_prefers_releases_and_honours_the_range() -> None:
    versions = ["1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1"]
    assert newest(versions) == "1.10.0"
    assert newest(versions, "~1.9") == "1.9.0"
    assert newest(versions, "^3") is None
    assert newest(["2.0.0-rc.1", "2.0.0-rc.2"]) == "2.0.0-rc.2"
    assert newest([]) is None

"""RFC 8785: vectors of the RFC, and what has no canonical form."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from somagent.domain.canonical import canonical_bytes, sha256_hex
from somagent.domain.errors import Code, SomaError

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-(2.0**53) + 1, 2.0**53 - 1)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_the_example_of_rfc_8785_section_3_2_2() -> None:
    value = json.loads(
        r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
             "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}"""
    )
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_bytes(value) == expected.encode()


def test_keys_are_sorted_by_utf_16_code_units() -> None:
    value: JsonValue = {"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "😀": 5, "\u0080": 6, "ö": 7}
    assert list(json.loads(canonical_bytes(value))) == ["\r", "1", "\u0080", "ö", "€", "😀", "\ufb33"]


@given(_json)
def test_the_form_does_not_depend_on_the_order_of_keys_and_reads_back(value: JsonValue) -> None:
    once = canonical_bytes(value)
    again = json.loads(once)
    assert again == value
    assert canonical_bytes(_reversed(again)) == once


def _reversed(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _reversed(item) for key, item in reversed(value.items())}
    return [_reversed(item) for item in value] if isinstance(value, list) else value


def test_the_hash_is_of_the_canonical_form() -> None:
    assert sha256_hex({"b": 1, "a": 2.0}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, -(2**53), "\ud800", {"a": [2**60]}])
def test_what_rfc_8785_cannot_hold_is_refused(value: JsonValue) -> None:
    with pytest.raises(SomaError) as refused:
        canonical_bytes(value)
    assert refused.value.code is Code.VALIDATION_FAILED


def test_nesting_without_end_is_refused_and_does_not_crash() -> None:
    value: JsonValue = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(SomaError, match="nested"):
        canonical_bytes(value)

"""Ten thousand chains, each written in another form and each damaged in one way."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somagent.domain.audit.chain import entry_hash, read_json, storable
from somagent.domain.audit.verification import verify_export
from somagent.tests.audit.chains import KEY, OTHER_KEY, chain, document, head, jwk_of, kid_of, reread

_TEXT = st.text(max_size=8)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
)
_JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_TEXT, inner, max_size=2), max_leaves=4
)
_HAPPENINGS = st.fixed_dictionaries(
    {"actor": _TEXT, "detail": st.dictionaries(_TEXT, _JSON, max_size=3)}, optional={"request_id": st.none() | _TEXT}
)


@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    happenings=st.lists(_HAPPENINGS, min_size=1, max_size=4),
    first_seq=st.sampled_from([1, 1, 7]),
    indent=st.sampled_from([None, 0, 3]),
    data=st.data(),
)
def test_whole_in_any_form_and_broken_by_any_damage(
    happenings: list[dict[str, Any]], first_seq: int, indent: int | None, data: st.DataObject
) -> None:
    entries = chain([storable(one) for one in happenings], first_seq=first_seq)  # type: ignore[misc]
    good = document(entries)
    assert verify_export(reread(_shuffled(good, data), indent=indent), {kid_of(KEY)}).faults == ()

    position = data.draw(st.integers(0, len(entries) - 1))
    damage = data.draw(st.sampled_from(sorted(_DAMAGES)))
    bad, expected = _DAMAGES[damage](good, position)
    if expected is not None:
        code, seq = expected
        found = verify_export(reread(bad, indent=indent))
        assert not found.whole
        assert (found.faults[0].code, found.faults[0].seq) == (code, seq), (damage, found.faults)


def _shuffled(value: Any, data: st.DataObject) -> Any:
    """Its names in another order; lists as they are."""
    if isinstance(value, dict):
        names = data.draw(st.sampled_from([sorted(value), sorted(value, reverse=True)]))
        return {name: _shuffled(value[name], data) for name in names}
    return [_shuffled(one, data) for one in value] if isinstance(value, list) else value


Outcome = tuple[dict[str, Any], tuple[str, int] | None]


def _changed(good: dict[str, Any], position: int) -> Outcome:
    bad = copy.deepcopy(good)
    entry = bad["entries"][position]
    entry["actor"] += "x"
    return bad, ("changed", entry["seq"])


def _changed_deep(good: dict[str, Any], position: int) -> Outcome:
    bad = copy.deepcopy(good)
    entry = bad["entries"][position]
    entry["detail"]["beyond what can be drawn"] = None
    return bad, ("changed", entry["seq"])


def _changed_and_hashed_again(good: dict[str, Any], position: int) -> Outcome:
    bad = copy.deepcopy(good)
    entry = bad["entries"][position]
    entry["outcome"] = "refused"
    entry["hash"] = entry_hash(entry)
    return bad, ("changed", entry["seq"])


def _whole_rest_made_again(good: dict[str, Any], position: int) -> Outcome:
    """Everything from there on with right hashes and links: only the signed head knows better."""
    bad = copy.deepcopy(good)
    bad["entries"][position]["outcome"] = "refused"
    previous = bad["entries"][position]["previous_hash"]
    for entry in bad["entries"][position:]:
        entry["previous_hash"] = previous
        previous = entry["hash"] = entry_hash(entry)
    return bad, ("changed", bad["entries"][-1]["seq"])


def _head_made_again(good: dict[str, Any], position: int) -> Outcome:
    bad, _ = _whole_rest_made_again(good, position)
    bad["head"]["hash"] = bad["entries"][-1]["hash"]
    return bad, ("signature", bad["head"]["seq"])


def _dropped(good: dict[str, Any], position: int) -> Outcome:
    bad = copy.deepcopy(good)
    entry = bad["entries"].pop(position)
    last = position == len(bad["entries"])
    return bad, ("cut_off" if last else "dropped", entry["seq"])


def _first_ones_dropped(good: dict[str, Any], position: int) -> Outcome:
    """With a header that says so: only its signature knows better."""
    if position == 0:
        return good, None
    bad = copy.deepcopy(good)
    first = bad["entries"][position]
    bad["entries"] = bad["entries"][position:]
    bad["header"].update(
        first_seq=first["seq"], previous_hash=first["previous_hash"], entries=len(bad["entries"])
    )  # fmt: skip
    found = verify_export(bad)
    assert [fault.code for fault in found.faults] == ["signature"]
    return bad, None


def _cut_off(good: dict[str, Any], position: int) -> Outcome:
    bad = copy.deepcopy(good)
    gone = bad["entries"][position]
    bad["entries"] = bad["entries"][:position]
    return bad, ("cut_off", gone["seq"])


def _cut_off_with_head(good: dict[str, Any], position: int) -> Outcome:
    if position == 0:
        return good, None
    bad = copy.deepcopy(good)
    bad["entries"] = bad["entries"][:position]
    last = bad["entries"][-1]
    bad["head"].update(seq=last["seq"], hash=last["hash"])
    return bad, ("signature", last["seq"])


def _reordered(good: dict[str, Any], position: int) -> Outcome:
    if position == 0:
        return good, None
    bad = copy.deepcopy(good)
    entries = bad["entries"]
    entries[position - 1], entries[position] = entries[position], entries[position - 1]
    return bad, ("reordered", good["entries"][position - 1]["seq"])


def _duplicated(good: dict[str, Any], position: int) -> Outcome:
    bad = copy.deepcopy(good)
    entry = bad["entries"][position]
    bad["entries"].insert(position, copy.deepcopy(entry))
    return bad, ("duplicated", entry["seq"] + 1)


def _added(good: dict[str, Any], position: int) -> Outcome:
    bad = copy.deepcopy(good)
    last = bad["entries"][-1]
    added = {**last, "seq": last["seq"] + 1, "previous_hash": last["hash"]}
    bad["entries"].append({**added, "hash": entry_hash(added)})
    return bad, ("beyond_head", last["seq"] + 1)


def _field_added(good: dict[str, Any], position: int) -> Outcome:
    bad = copy.deepcopy(good)
    bad["entries"][position]["note"] = "approved by the board"
    return bad, ("malformed", bad["entries"][position]["seq"])


def _foreign_head(good: dict[str, Any], position: int) -> Outcome:
    bad = copy.deepcopy(good)
    last = bad["entries"][-1]
    bad["head"].update(tenant_id="beta", **head("beta", last["seq"], last["hash"]))
    return bad, ("foreign", last["seq"])


def _wrong_count(good: dict[str, Any], position: int) -> Outcome:
    bad = copy.deepcopy(good)
    bad["header"]["entries"] += position + 1
    assert [fault.code for fault in verify_export(bad).faults] == ["count", "signature"]
    return bad, None


_DAMAGES = {
    function.__name__: function
    for function in (
        _changed, _changed_deep, _changed_and_hashed_again, _whole_rest_made_again, _head_made_again, _dropped,
        _first_ones_dropped, _cut_off, _cut_off_with_head, _reordered, _duplicated, _added, _field_added,
        _foreign_head, _wrong_count,
    )
}  # fmt: skip


_UNSIGNED = {("head", "signed_at"), ("public_keys",)}


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, one in inner for place in _places(one, (*path, name)))]


@settings(max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), value=_JSON | st.text(st.characters(categories=["Cs", "Lu"]), min_size=1, max_size=3))
def test_whatever_is_written_over_any_place_is_found_and_never_breaks_the_check(
    data: st.DataObject, value: Any
) -> None:
    good = document(chain([{"detail": {"a": [1, {"b": "c"}]}}, {}]))
    places = [place for place in _places(good) if place and place[:2] not in _UNSIGNED and place[:1] not in _UNSIGNED]
    *path, last = data.draw(st.sampled_from(places))
    bad = copy.deepcopy(good)
    parent = bad
    for name in path:
        parent = parent[name]
    if parent[last] == value:
        return
    parent[last] = value
    assert not verify_export(bad).whole, (path, last, value)
    bad["public_keys"] = value
    assert not verify_export(bad).whole


def test_a_forger_with_a_key_of_his_own_is_found_by_pinning() -> None:
    forged = document(chain([{}, {}]), OTHER_KEY)
    assert verify_export(forged).whole
    assert [fault.code for fault in verify_export(forged, {kid_of(KEY)}).faults] == ["key", "key"]
    forged["public_keys"] = [{**jwk_of(OTHER_KEY), "kid": kid_of(KEY)}]
    for part in ("head", "header"):
        forged[part]["kid"] = kid_of(KEY)
    assert [fault.code for fault in verify_export(forged, {kid_of(KEY)}).faults] == ["key", "key"]


def test_a_head_signed_by_a_key_that_is_not_there() -> None:
    found = document(chain([{}]))
    found["public_keys"] = [jwk_of(OTHER_KEY)]
    assert {fault.code for fault in verify_export(found).faults} == {"key"}


@pytest.mark.parametrize(
    ("written", "read"),
    [("1.0", "1"), ("1e2", "100"), ("-0.0", "0"), ("1.10", "1.1"), ("9007199254740993", '"9007199254740993"'),
     ("1e400", '"1e400"'), ('"\\u00e9"', '"é"')],
)  # fmt: skip
def test_numbers_and_texts_hash_as_they_mean(written: str, read: str) -> None:
    fields = [{**chain([{}])[0], "detail": read_json(f'{{"n": {text}}}')} for text in (written, read)]
    assert entry_hash(fields[0]) == entry_hash(fields[1])


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"a": NaN}', "{", '{"a": Infinity}', ""])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_json(text)


@pytest.mark.parametrize(
    "value", [None, [], {}, {"header": {}, "entries": [], "head": {}, "public_keys": []}, "text", 1]
)
def test_what_is_no_export_is_malformed(value: Any) -> None:
    assert [fault.code for fault in verify_export(value).faults] == ["malformed"]


def test_what_cannot_be_kept_is_replaced() -> None:
    value = {"a\x00": ["\ud800", 2**70, float("nan"), -(2**53), True]}
    kept = storable(value)  # type: ignore[arg-type]
    assert kept == {"a\ufffd": ["\ufffd\ufffd\ufffd", str(2**70), None, str(-(2**53)), True]}
    json.dumps(kept, allow_nan=False).encode()

"""Reading constitutions, and what is to be said of them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from somagent.domain.errors import Code, SomaError
from somagent.domain.policy.bundles import sign_bundle, verify_bundle
from somagent.domain.policy.constitution import DEFAULT, Constitution, FeatureWeights, parse_constitution
from somagent.domain.policy.examination import examine
from somagent.domain.signatures import public_pem

SOUND: dict[str, Any] = DEFAULT.model_dump(mode="json")
numbers = st.floats(0, 1_000_000)
constitutions = st.builds(
    Constitution,
    version=st.integers(1, 2**31 - 1),
    threshold=st.floats(0, 1),
    production_threshold=st.floats(0, 1),
    weights=st.builds(FeatureWeights, **dict.fromkeys(FeatureWeights.model_fields, numbers)),
)
KEY = Ed25519PrivateKey.generate()


def faults(document: object) -> dict[str, str]:
    """Each fault's code by its path."""
    with pytest.raises(SomaError) as caught:
        parse_constitution(document)  # type: ignore[arg-type]
    assert caught.value.code is Code.CONSTITUTION_INVALID
    return {fault.path: fault.code for fault in caught.value.errors}


def weighing(**changes: object) -> dict[str, Any]:
    """A document with other weights."""
    return {**SOUND, "weights": {**SOUND["weights"], **changes}}


def test_the_shipped_one() -> None:
    assert parse_constitution(SOUND) == DEFAULT
    assert hashlib.sha256(rfc8785.dumps(SOUND)).hexdigest() == DEFAULT.content_hash


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (weighing(safety=-0.1), {"weights.safety": "greater_than_equal"}),
        (weighing(safety=float("nan")), {"weights.safety": "greater_than_equal"}),
        (weighing(budget=float("inf")), {"weights.budget": "less_than_equal"}),
        (weighing(budget=1e300), {"weights.budget": "less_than_equal"}),
        (weighing(budget="0.2"), {"weights.budget": "float_type"}),
        (weighing(budget=True), {"weights.budget": "float_type"}),
        (weighing(budget=None), {"weights.budget": "float_type"}),
        (weighing(luck=1), {"weights.luck": "extra_forbidden"}),
        ({**SOUND, "weights": []}, {"weights": "model_type"}),
        ({**SOUND, "weights": {}}, {f"weights.{name}": "missing" for name in FeatureWeights.model_fields}),
        ({**SOUND, "version": "2"}, {"version": "int_type"}),
        ({**SOUND, "version": 2.5}, {"version": "int_type"}),
        ({**SOUND, "version": True}, {"version": "int_type"}),
        ({**SOUND, "version": 0}, {"version": "greater_than_equal"}),
        ({**SOUND, "threshold": 1.5}, {"threshold": "less_than_equal"}),
        ({**SOUND, "threshold": float("nan")}, {"threshold": "finite_number"}),
        ({**SOUND, "mood": "strict"}, {"mood": "extra_forbidden"}),
        ({}, dict.fromkeys(SOUND, "missing")),
        ([], {"": "model_type"}),
        ("a constitution", {"": "model_type"}),
    ],
)
def test_each_fault_with_its_path(document: object, expected: dict[str, str]) -> None:
    found = faults(document)
    assert found.keys() == expected.keys()
    assert all(found[path] in (code, "finite_number") for path, code in expected.items()), found


def test_all_faults_at_once() -> None:
    found = faults({"version": "x", "threshold": -1, "weights": {"safety": -1, "luck": 2}, "mood": 1})
    assert found.keys() >= {
        "version", "threshold", "production_threshold", "weights.safety", "weights.luck", "weights.budget", "mood",
    }  # fmt: skip


@given(constitutions)
def test_what_was_read_is_what_was_hashed_and_signed(constitution: Constitution) -> None:
    document = constitution.model_dump(mode="json")
    assert parse_constitution(document) == constitution
    assert hashlib.sha256(rfc8785.dumps(document)).hexdigest() == constitution.content_hash
    signature = sign_bundle(document, KEY)
    verify_bundle(parse_constitution(document).model_dump(mode="json"), signature, public_pem(KEY.public_key()))


@given(constitutions, constitutions)
def test_a_signature_holds_for_its_own_content_only(signed: Constitution, other: Constitution) -> None:
    signature = sign_bundle(signed.model_dump(mode="json"), KEY)
    if signed == other:
        return
    with pytest.raises(SomaError) as caught:
        verify_bundle(other.model_dump(mode="json"), signature, public_pem(KEY.public_key()))
    assert caught.value.code is Code.SIGNATURE_INVALID


def codes(**changes: object) -> dict[str, str]:
    """Each finding's severity by its code."""
    proposed = parse_constitution({**SOUND, "version": 2, **changes})  # type: ignore[dict-item]
    return {finding.code: finding.severity for finding in examine(proposed, DEFAULT)}


def test_findings() -> None:
    assert codes() == {}
    assert codes(threshold=0.75) == {"changes": "info"}
    light = {**SOUND["weights"], "confidence": 0.0, "safety": 0.0}
    assert codes(weights=light)["nothing_passes"] == "blocking"
    assert codes(threshold=1.0, production_threshold=1.0) == {"changes": "info"}
    assert codes(threshold=0.0)["nothing_is_refused"] == "warning"
    assert codes(production_threshold=0.5)["production_is_laxer"] == "warning"
    assert codes(version=9)["version_skips"] == "warning"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*SOUND, *SOUND["weights"], "x"]), inner, max_size=6)
    ),
    max_leaves=12,
)


def understood(document: Any) -> Constitution | SomaError:
    """What comes of reading a document; nothing else may."""
    try:
        return parse_constitution(document)
    except SomaError as refusal:
        return refusal


@given(json_values)
def test_anything_is_read_or_refused_with_its_faults(document: Any) -> None:
    found = understood(document)
    assert found.errors if isinstance(found, SomaError) else found.model_dump(mode="json") == document


@given(st.dictionaries(st.sampled_from(list(SOUND["weights"])), json_values), json_values)
def test_whatever_stands_where_a_number_belongs(weights: dict[str, Any], threshold: Any) -> None:
    document = {**weighing(**weights), "threshold": threshold}
    found = understood(document)
    if isinstance(found, SomaError):
        assert {fault.path.split(".")[0] for fault in found.errors} <= {"weights", "threshold"}
    else:
        assert found.content_hash == hashlib.sha256(rfc8785.dumps(document)).hexdigest()

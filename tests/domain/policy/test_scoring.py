"""The policy score, against the contract's numbers and for any input at all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from somagent.domain.policy.constitution import DEFAULT, DEFAULT_HASH, Constitution, FeatureWeights
from somagent.domain.policy.scoring import (
    MatchedRule,
    Severity,
    Signals,
    Values,
    judge,
    severity_of,
    values_of,
    weigh,
)

share = st.floats(0, 1)
amount = st.floats(0, 1e12)
rules = st.lists(
    st.builds(MatchedRule, name=st.text(min_size=1, max_size=5), weight=st.floats(0, 5), hard=st.booleans()), max_size=4
).map(tuple)
signals = st.builds(
    Signals,
    matched=rules,
    confidence=share,
    risk=share,
    budget_required=st.none() | amount,
    budget_remaining=st.none() | amount,
    requires_human=st.booleans(),
)
weights = st.builds(
    FeatureWeights,
    prompt_cleanliness=st.floats(0, 10),
    confidence=st.floats(0, 10),
    safety=st.floats(0, 10),
    budget=st.floats(0, 10),
    human_required=st.floats(0, 10),
)
constitutions = st.builds(Constitution, weights=weights, threshold=share, production_threshold=share)


def test_the_defaults_of_the_contract() -> None:
    verdict = judge(Signals(), DEFAULT)
    assert [(feature.name, feature.value, feature.weight) for feature in verdict.features] == [
        ("prompt_cleanliness", 1.0, 0.3),
        ("confidence", 1.0, 0.2),
        ("safety", 0.9, 0.3),
        ("budget", 1.0, 0.2),
    ]
    assert verdict.score == pytest.approx(0.97)
    assert (verdict.allowed, verdict.threshold, verdict.severity) == (True, 0.7, Severity.LOW)
    assert verdict.constitution_hash == DEFAULT_HASH


def test_a_human_costs_fifteen_hundredths() -> None:
    verdict = judge(Signals(requires_human=True), DEFAULT)
    assert verdict.features[-1].name == "human_required"
    assert verdict.features[-1].contribution == -0.15
    assert verdict.score == pytest.approx(0.82)


def test_everything_against_it() -> None:
    worst = Signals(
        matched=(MatchedRule(name="x", weight=3),), confidence=0, risk=1, budget_required=1, budget_remaining=0,
        requires_human=True,
    )  # fmt: skip
    verdict = judge(worst, DEFAULT)
    assert verdict.score == pytest.approx(-0.15)
    assert (verdict.allowed, verdict.severity) == (False, Severity.CRITICAL)


def test_production_asks_for_more() -> None:
    middling = Signals(risk=0.7)
    assert judge(middling, DEFAULT).score == pytest.approx(0.79)
    assert judge(middling, DEFAULT).allowed
    assert not judge(middling, DEFAULT, production=True).allowed


@pytest.mark.parametrize(
    ("score", "severity"),
    [(0.8, "low"), (0.79, "medium"), (0.5, "medium"), (0.49, "high"), (0.2, "high"), (0.19, "critical")],
)
def test_severity(score: float, severity: str) -> None:
    assert severity_of(score) == severity


@pytest.mark.parametrize(
    "wrong",
    [
        {"confidence": 1.01}, {"confidence": -0.1}, {"risk": math.nan}, {"risk": math.inf}, {"budget_required": -1},
        {"budget_remaining": math.inf},
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Signals.model_validate(wrong)


@pytest.mark.parametrize("wrong", [{"budget": -0.1}, {"safety": math.nan}, {"confidence": math.inf}])
def test_weights_are_not_negative(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        FeatureWeights.model_validate(wrong)


@settings(max_examples=10_000, deadline=None)
@given(signals, constitutions)
def test_the_score_is_the_plain_sum_of_its_features(given_signals: Signals, constitution: Constitution) -> None:
    verdict = judge(given_signals, constitution)
    assert verdict.score == sum(feature.weight * feature.value for feature in verdict.features)
    assert all(feature.contribution == feature.weight * feature.value for feature in verdict.features)
    assert all(-1 <= feature.value <= 1 for feature in verdict.features)
    hard = any(rule.hard for rule in given_signals.matched)
    assert verdict.allowed == (verdict.score >= verdict.threshold and not hard)


@given(signals, constitutions)
def test_a_rule_never_helps(given_signals: Signals, constitution: Constitution) -> None:
    more = given_signals.model_copy(update={"matched": (*given_signals.matched, MatchedRule(name="r", weight=0.5))})
    assert judge(more, constitution).score <= judge(given_signals, constitution).score


@given(signals, share, constitutions)
def test_more_risk_never_helps(given_signals: Signals, risk: float, constitution: Constitution) -> None:
    low, high = sorted((given_signals.risk, risk))
    calm, risky = (given_signals.model_copy(update={"risk": value}) for value in (low, high))
    assert judge(risky, constitution).score <= judge(calm, constitution).score


@given(signals)
def test_equal_acts_have_equal_verdicts(given_signals: Signals) -> None:
    assert judge(given_signals, DEFAULT) == judge(given_signals.model_copy(), Constitution())


@given(weights, weights)
def test_the_hash_follows_the_content(left: FeatureWeights, right: FeatureWeights) -> None:
    one, other = Constitution(weights=left), Constitution(weights=right)
    assert (one.content_hash == other.content_hash) == (one.model_dump_json() == other.model_dump_json())


@given(signals, constitutions, st.booleans())
def test_values_alone_give_the_same_score(given_signals: Signals, constitution: Constitution, production: bool) -> None:
    verdict = judge(given_signals, constitution, production=production)
    weighed = weigh(values_of(given_signals), constitution, given_signals.matched, production=production)
    assert weighed == verdict


@pytest.mark.parametrize("wrong", [{"safety": 1.1}, {"budget": math.nan}, {"human_required": 0.5}, {"other": 1}])
def test_values_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Values.model_validate(wrong)

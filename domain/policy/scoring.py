"""The policy score S(a) = Σ wᵢ φᵢ(x(a)) of contract section 5, and the verdict that follows from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from somagent.domain.model import Model
from somagent.domain.policy.constitution import Constitution

DEFAULT_RISK: Final = 0.1
"""Risk of an action for which neither the caller nor a tool's manifest gives one."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Severity(StrEnum):
    """How grave a score is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class MatchedRule(Model):
    """A policy rule that the prompt or the action matched. A hard one refuses whatever the score."""

    name: str
    weight: Amount = 0.0
    hard: bool = False


class Signals(Model):
    """x(a): what is known of an act when it is judged. What is absent takes the contract's default."""

    matched: tuple[MatchedRule, ...] = ()
    confidence: Share = 1.0
    risk: Share = DEFAULT_RISK
    budget_required: Amount | None = None
    """Tokens that the act may cost at worst."""
    budget_remaining: Amount | None = None
    """Tokens that are left to it."""
    requires_human: bool = False


class Values(Model):
    """φ(x(a)): what each weight is multiplied with. Absent ones are as of an act that nothing can be said against."""

    prompt_cleanliness: Share = 1.0
    confidence: Share = 1.0
    safety: Share = 1.0
    """1 − risk."""
    budget: Share = 1.0
    human_required: Annotated[float, Field(ge=-1, le=0, allow_inf_nan=False)] | None = None
    """−1 where a human is required; no feature at all where none is."""


class Feature(Model):
    """One term of the sum; ``contribution`` is ``weight · value``."""

    name: str
    value: float
    weight: float
    contribution: float


class Verdict(Model):
    """Whether an act is allowed, and everything that decided it."""

    allowed: bool
    score: float
    threshold: float
    severity: Severity
    constitution_hash: str
    policy: tuple[str, ...]
    features: tuple[Feature, ...]


def judge(signals: Signals, constitution: Constitution, *, production: bool = False) -> Verdict:
    """The verdict: allowed when S ≥ θ and no hard rule matched.

    S is the plain sum of the contributions, neither clamped nor rounded (contract section 5).
    """
    return weigh(values_of(signals), constitution, signals.matched, production=production)


def weigh(
    values: Values, constitution: Constitution, matched: Sequence[MatchedRule] = (), *, production: bool = False
) -> Verdict:
    """The verdict on φ values, whatever they were made of; ``matched`` are named, and a hard one refuses."""
    features = tuple(_features(values, constitution))
    score = sum(feature.contribution for feature in features)
    threshold = constitution.threshold_for(production=production)
    return Verdict(
        allowed=score >= threshold and not any(rule.hard for rule in matched),
        score=score,
        threshold=threshold,
        severity=severity_of(score),
        constitution_hash=constitution.content_hash,
        policy=tuple(rule.name for rule in matched),
        features=features,
    )


def values_of(signals: Signals) -> Values:
    """φ of what is known of an act."""
    return Values(
        prompt_cleanliness=max(0.0, 1.0 - sum(rule.weight for rule in signals.matched)),
        confidence=signals.confidence,
        safety=1.0 - signals.risk,
        budget=_budget_term(signals),
        human_required=-1.0 if signals.requires_human else None,
    )


def severity_of(score: float) -> Severity:
    """≥ 0.8 low, ≥ 0.5 medium, ≥ 0.2 high, else critical."""
    if score >= 0.8:
        return Severity.LOW
    if score >= 0.5:
        return Severity.MEDIUM
    return Severity.HIGH if score >= 0.2 else Severity.CRITICAL


def _features(values: Values, constitution: Constitution) -> Iterator[Feature]:
    weights = constitution.weights
    yield _feature("prompt_cleanliness", values.prompt_cleanliness, weights.prompt_cleanliness)
    yield _feature("confidence", values.confidence, weights.confidence)
    yield _feature("safety", values.safety, weights.safety)
    yield _feature("budget", values.budget, weights.budget)
    if values.human_required is not None:
        yield _feature("human_required", values.human_required, weights.human_required)


def _feature(name: str, value: float, weight: float) -> Feature:
    return Feature(name=name, value=value, weight=weight, contribution=weight * value)


def _budget_term(signals: Signals) -> float:
    """min(1, remaining/required); 1 where either is absent or nothing is required."""
    required, remaining = signals.budget_required, signals.budget_remaining
    if not required or remaining is None or remaining >= required:
        return 1.0
    return remaining / required

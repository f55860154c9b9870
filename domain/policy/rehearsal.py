"""Rehearsal: what recorded decisions would have been under another constitution.

A decision is recorded with its feature values φ, so S = Σ wᵢ φᵢ (contract section 5) can be summed again with other
weights, in the order in which :func:`somagent.domain.policy.scoring.judge` sums. Under the constitution that it was
made under, a decision comes out bit for bit as it was; one that does not was not made by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from datetime import datetime

from somagent.domain.model import Model
from somagent.domain.policy.constitution import Constitution, FeatureWeights


class RecordedFeature(Model):
    """φᵢ of an act, by name."""

    name: str
    value: float


class RecordedDecision(Model):
    """A verdict that was recorded with its features.

    Attributes:
        id: a decision's id, or ``job:step``.
        policy: names of the rules that matched.
    """

    id: str
    source: str
    action: str | None
    allowed: bool
    score: float
    threshold: float
    constitution_hash: str
    policy: tuple[str, ...]
    features: tuple[RecordedFeature, ...]
    decided_at: datetime


class Flip(Model):
    """A decision that the proposed constitution would turn."""

    decision_id: str
    source: str
    action: str | None
    was: str
    would_be: str
    score_then: float
    score_now: float
    threshold_then: float
    threshold_now: float
    decided_at: datetime


class Rehearsal(Model):
    """What came of it.

    Attributes:
        decisions: how many were judged again.
        reproduced: how many came out exactly as recorded under the constitution that they were made under.
        unreproduced: ids of those that did not, or whose constitution is not on record.
    """

    decisions: int = 0
    reproduced: int = 0
    unreproduced: tuple[str, ...] = ()
    flips: tuple[Flip, ...] = ()

    @property
    def newly_refused(self) -> int:
        """How many were allowed and would be refused."""
        return sum(flip.would_be == "refused" for flip in self.flips)


def rescore(features: Iterable[RecordedFeature], weights: FeatureWeights) -> float:
    """S of recorded features under ``weights``; a feature that has no weight adds nothing."""
    return sum(getattr(weights, feature.name, 0.0) * feature.value for feature in features)


def rehearse(
    decisions: Iterable[RecordedDecision],
    proposed: Constitution,
    known: Mapping[str, Constitution],
    hard_rules: Set[str] = frozenset(),
) -> Rehearsal:
    """Judge recorded decisions again.

    Args:
        known: constitutions by hash, those that the decisions were made under among them.
        hard_rules: names of the rules that refuse whatever the score; their refusals stay refusals.
    """
    total, unreproduced, flips = 0, [], []
    for decision in decisions:
        total += 1
        original = known.get(decision.constitution_hash)
        if original is None or not _reproduces(decision, original):
            unreproduced.append(decision.id)
        flip = _flip(decision, proposed, original, hard_rules)
        if flip is not None:
            flips.append(flip)
    return Rehearsal(
        decisions=total,
        reproduced=total - len(unreproduced),
        unreproduced=tuple(unreproduced),
        flips=tuple(flips),
    )


def _reproduces(decision: RecordedDecision, original: Constitution) -> bool:
    """Whether score and threshold are those of ``original``, and nothing was allowed below the threshold."""
    score = rescore(decision.features, original.weights)
    return (
        score == decision.score
        and decision.threshold in (original.threshold, original.production_threshold)
        and (score >= decision.threshold or not decision.allowed)
    )


def _flip(
    decision: RecordedDecision, proposed: Constitution, original: Constitution | None, hard_rules: Set[str]
) -> Flip | None:
    score = rescore(decision.features, proposed.weights)
    threshold = proposed.threshold_for(production=_in_production(decision, original))
    allowed = score >= threshold and not _refused_by_rule(decision, hard_rules)
    if allowed == decision.allowed:
        return None
    return Flip(
        decision_id=decision.id,
        source=decision.source,
        action=decision.action,
        was=_word(decision.allowed),
        would_be=_word(allowed),
        score_then=decision.score,
        score_now=score,
        threshold_then=decision.threshold,
        threshold_now=threshold,
        decided_at=decision.decided_at,
    )


def _in_production(decision: RecordedDecision, original: Constitution | None) -> bool:
    """The threshold tells the mode that a decision was made in; where both are equal it makes no difference then."""
    return original is not None and decision.threshold != original.threshold


def _refused_by_rule(decision: RecordedDecision, hard_rules: Set[str]) -> bool:
    """What passed matched no hard rule. What was refused in spite of its score did; below it, today's rules tell."""
    if decision.allowed:
        return False
    return decision.score >= decision.threshold or not hard_rules.isdisjoint(decision.policy)


def _word(allowed: bool) -> str:
    return "allowed" if allowed else "refused"

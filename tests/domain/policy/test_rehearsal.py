"""Rehearsals, on decisions made by the scoring itself."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from somagent.domain.policy.constitution import DEFAULT, Constitution, FeatureWeights
from somagent.domain.policy.rehearsal import RecordedDecision, RecordedFeature, rehearse
from somagent.domain.policy.scoring import MatchedRule, Signals, Verdict, judge

CASES = 2_500
share = st.floats(0, 1)
signals = st.builds(
    Signals,
    matched=st.lists(
        st.builds(MatchedRule, name=st.sampled_from("abcd"), weight=st.floats(0, 5), hard=st.just(value=False)),
        max_size=3,
    ).map(tuple),
    confidence=share,
    risk=share,
    budget_required=st.none() | st.floats(0, 1e12),
    budget_remaining=st.none() | st.floats(0, 1e12),
    requires_human=st.booleans(),
)
constitutions = st.builds(
    Constitution,
    weights=st.builds(FeatureWeights, **dict.fromkeys(FeatureWeights.model_fields, st.floats(0, 10))),
    threshold=share,
    production_threshold=share,
)
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def recorded(verdict: Verdict) -> RecordedDecision:
    """A verdict as it comes back from the database: through JSON."""
    stored = orjson.loads(orjson.dumps(verdict.model_dump(mode="json")))
    return RecordedDecision(
        id="d",
        source="evaluate",
        action=None,
        allowed=stored["allowed"],
        score=stored["score"],
        threshold=stored["threshold"],
        constitution_hash=stored["constitution_hash"],
        policy=tuple(stored["policy"]),
        features=tuple(RecordedFeature(name=one["name"], value=one["value"]) for one in stored["features"]),
        decided_at=WHEN,
    )


@settings(max_examples=CASES)
@given(signals, constitutions, st.booleans())
def test_the_old_constitution_reproduces_its_own_decisions(
    act: Signals, constitution: Constitution, production: bool
) -> None:
    decision = recorded(judge(act, constitution, production=production))
    rehearsal = rehearse([decision], constitution, {constitution.content_hash: constitution})
    assert (rehearsal.decisions, rehearsal.reproduced, rehearsal.unreproduced) == (1, 1, ())
    assert rehearsal.flips == ()


@settings(max_examples=CASES)
@given(signals, constitutions, constitutions, st.booleans())
def test_a_flip_is_what_the_scoring_would_say(
    act: Signals, old: Constitution, new: Constitution, production: bool
) -> None:
    was, now = judge(act, old, production=production), judge(act, new, production=production)
    rehearsal = rehearse([recorded(was)], new, {old.content_hash: old})
    if old.threshold == old.production_threshold and production:
        return  # nothing recorded tells the mode
    assert bool(rehearsal.flips) == (was.allowed != now.allowed)
    for flip in rehearsal.flips:
        assert (flip.score_then, flip.score_now) == (was.score, now.score)
        assert (flip.threshold_then, flip.threshold_now) == (was.threshold, now.threshold)
        assert flip.would_be == ("allowed" if now.allowed else "refused")


@settings(max_examples=CASES)
@given(signals, constitutions)
def test_hard_rules_stay_refusals(act: Signals, new: Constitution) -> None:
    hard = act.model_copy(update={"matched": (*act.matched, MatchedRule(name="never", hard=True))})
    decision = recorded(judge(hard, DEFAULT))
    rehearsal = rehearse([decision], new, {DEFAULT.content_hash: DEFAULT}, frozenset({"never"}))
    assert rehearsal.flips == ()
    assert rehearsal.reproduced == 1


def test_what_was_touched_is_not_reproduced() -> None:
    decision = recorded(judge(Signals(), DEFAULT))
    known = {DEFAULT.content_hash: DEFAULT}
    for change in ({"score": 0.5}, {"threshold": 0.1}, {"constitution_hash": "0" * 64}):
        rehearsal = rehearse([decision.model_copy(update=change)], DEFAULT, known)
        assert (rehearsal.reproduced, rehearsal.unreproduced) == (0, ("d",))
    refused = recorded(judge(Signals(risk=1.0, confidence=0.0), DEFAULT)).model_copy(update={"allowed": True})
    assert rehearse([refused], DEFAULT, known).reproduced == 0


def test_flips_both_ways() -> None:
    decision = recorded(judge(Signals(risk=0.5), DEFAULT))
    strict = DEFAULT.model_copy(update={"threshold": 0.95})
    rehearsal = rehearse([decision], strict, {DEFAULT.content_hash: DEFAULT})
    assert [(flip.was, flip.would_be) for flip in rehearsal.flips] == [("allowed", "refused")]
    assert rehearsal.newly_refused == 1
    refused = recorded(judge(Signals(risk=1.0, confidence=0.4), DEFAULT))
    assert not refused.allowed
    lax = DEFAULT.model_copy(update={"threshold": 0.1})
    rehearsal = rehearse([refused], lax, {DEFAULT.content_hash: DEFAULT})
    assert [(flip.was, flip.would_be) for flip in rehearsal.flips] == [("refused", "allowed")]

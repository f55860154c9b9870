"""What rules match, for any text at all; and that no shipped capsule is refused in any mode."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.settings import Settings
from somagent.domain.capsules.cel_limits import MAX_TURNS
from somagent.domain.policy.constitution import DEFAULT
from somagent.domain.policy.evaluation import Evaluation, EvaluationMetadata, manifest_risk
from somagent.domain.policy.law import Law
from somagent.domain.policy.rules import Rule, RuleSet, Subject

word = st.text(alphabet="bcdfghjkmnpqrtvwz", min_size=2, max_size=8)
rule = st.builds(
    Rule, name=st.from_regex(r"\A[a-z][a-z0-9]{0,8}\Z"), pattern=word, weight=st.floats(0, 5), hard=st.booleans()
)


def names(rules: RuleSet, text: str | Subject) -> list[str]:
    return [found.name for found in rules.matched(text)]


@settings(max_examples=300, deadline=None)
@given(st.lists(rule, max_size=5, unique_by=lambda one: one.name), st.text())
def test_any_text_can_be_asked(rules: list[Rule], text: str) -> None:
    found = names(RuleSet(tuple(rules)), text)
    assert [one.name for one in rules if one.name in found] == found


@settings(max_examples=300, deadline=None)
@given(word, word, st.sampled_from([" ", "  ", "\n", ", ", " - ", "\u00a0", "\u2003"]))
def test_a_phrase_matches_whole_words_in_order(first: str, second: str, between: str) -> None:
    rules = RuleSet((Rule(name="r", pattern=f"{first} {second}"),))
    assert names(rules, f"well {first.upper()}{between}{second}!") == ["r"]
    assert names(rules, f"x{first} {second}y") == []
    if first != second:
        assert names(rules, f"{second} {first}") == []


@given(word)
def test_equal_rules_have_equal_hashes(pattern: str) -> None:
    one, same = (RuleSet((Rule(name="r", pattern=pattern),)) for _ in range(2))
    other = RuleSet((Rule(name="r", pattern=pattern, hard=True),))
    assert one.content_hash == same.content_hash != other.content_hash
    assert Law(DEFAULT, one, False).mark != Law(DEFAULT, one, True).mark


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        (r"rm\s+-rf", "RM   -RF /", True),
        (r"^start", "not at the start", False),
        (r"pass(word|phrase)", "ｐａｓｓｗｏｒｄ", True),
        (r"pass(word|phrase)", "pass\u200bword", True),
        (r"pass(word|phrase)", "раsswоrd", True),
        (r"(a+)+$", "a" * 200_000 + "!", False),
        (r"ü", "Überfall", True),
    ],
)
def test_regular_expressions(pattern: str, text: str, matches: bool) -> None:
    assert bool(names(RuleSet((Rule(name="r", kind="regex", pattern=pattern),)), text)) is matches


def test_conditions_see_what_is_known() -> None:
    condition = (
        "prompt.contains('deploy') && role == 'code' && action == 'git.commit' && tool == 'git' && "
        "capsule_id == 'c' && risk > 0.1 && confidence < 1.0 && metadata.team in ['ops', 'dev']"
    )
    rules = RuleSet((Rule(name="r", pattern="deploy", condition=condition),))
    known = Subject("deploy", "code", "git.commit", "git", "c", 0.2, 0.9, {"team": "ops"})
    assert names(rules, known) == ["r"]
    assert names(rules, Subject("deploy", "code", "git.log", "git", "c", 0.2, 0.9, {"team": "ops"})) == []


def test_a_condition_without_a_value_lets_the_rule_match() -> None:
    rules = RuleSet((Rule(name="r", pattern="deploy", condition="metadata.team == 'ops'"),))
    assert names(rules, "deploy") == ["r"]
    turns = f"[{', '.join(['1'] * 100)}]"
    endless = f"{turns}.all(a, {turns}.all(b, {turns}.all(c, a + b + c > 0)))"
    assert MAX_TURNS < 100**3
    assert names(RuleSet((Rule(name="r", pattern="deploy", condition=f"!({endless})"),)), "deploy") == ["r"]


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0])
def test_weights_of_rules_are_finite_and_not_negative(weight: float) -> None:
    with pytest.raises(ValidationError):
        Rule(name="r", pattern="x", weight=weight)


def test_risk_comes_from_the_manifest() -> None:
    assert manifest_risk("http.request") == 0.3
    assert manifest_risk("git.log") == 0.1
    assert manifest_risk(None, "git") == 0.2
    assert manifest_risk("git.unknown") == 0.2
    assert manifest_risk("nobody.knows") == manifest_risk(None) == 0.1


@pytest.mark.parametrize("production", [False, True])
def test_no_shipped_capsule_is_refused_by_the_default_constitution(production: bool) -> None:
    law = Law(DEFAULT, RuleSet.EMPTY, production)
    folder = CapsulesFolder(Settings().capsules_dir)
    capsules = list(folder.all())
    assert len(capsules) >= 8
    for capsule in capsules:
        for tool in capsule.definition.tools:
            for verb in tool.actions:
                known = EvaluationMetadata(action=f"{tool.adapter}.{verb}")
                assert Evaluation(prompt="", metadata=known).judge(law).allowed, (capsule.definition.id, verb)

"""How often moderation is wrong, measured on the suites; the rates are printed."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from somagent.domain.moderation.categories import CATEGORIES
from somagent.domain.moderation.lexicon import screen
from somagent.tests.moderation.suites import attacks, benign

MOST_MISSED = 0.05
MOST_FLAGGED_WRONGLY = 0.02


def test_the_suites_are_large_enough_and_say_each_thing_once() -> None:
    assert len({attack.text for attack in attacks()}) == len(attacks()) >= 150
    assert len(set(benign())) == len(benign()) >= 150
    assert {attack.category for attack in attacks()} == {category.name for category in CATEGORIES}


def test_attacks_are_flagged(capsys: pytest.CaptureFixture[str]) -> None:
    missed = [attack for attack in attacks() if attack.category not in screen(attack.text).categories]
    rate = len(missed) / len(attacks())
    by_category = ", ".join(f"{name} {count}" for name, count in Counter(one.category for one in missed).items())
    say(capsys, f"moderation, false negatives: {len(missed)} of {len(attacks())} ({rate:.1%}) {by_category}")
    assert rate <= MOST_MISSED, missed


def test_look_alikes_pass(capsys: pytest.CaptureFixture[str]) -> None:
    flagged = [(text, screen(text).terms) for text in benign() if screen(text).flags]
    rate = len(flagged) / len(benign())
    say(capsys, f"moderation, false positives: {len(flagged)} of {len(benign())} ({rate:.1%})")
    assert rate <= MOST_FLAGGED_WRONGLY, flagged


def test_prompts_that_no_word_was_chosen_for(capsys: pytest.CaptureFixture[str]) -> None:
    """What to expect of new paraphrases; nobody may choose words for these, or they measure nothing."""
    unseen, harmless = attacks("unseen_attacks"), benign("unseen_benign")
    missed = sum(not screen(attack.text).flags for attack in unseen)
    flagged = sum(bool(screen(text).flags) for text in harmless)
    say(capsys, f"moderation, unseen: {missed} of {len(unseen)} missed, {flagged} of {len(harmless)} wrongly flagged")
    assert missed / len(unseen) <= 0.5
    assert flagged / len(harmless) <= 0.1


def say(capsys: pytest.CaptureFixture[str], line: str) -> None:
    """Print a line that is seen without ``-s`` too."""
    with capsys.disabled():
        sys.stdout.write(f"\n{line}\n")

"""Reciprocal rank fusion, by its properties."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from somagent.domain.memory.fusion import fuse

Rankings = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=20), min_size=1, max_size=4)


def test_first_everywhere_is_one_and_first_in_one_of_two_is_a_half() -> None:
    assert fuse([["a", "b"], ["a"]])[0] == ("a", 1.0)
    assert dict(fuse([["a"], ["b"]])) == {"a": 0.5, "b": 0.5}


def test_the_papers_formula() -> None:
    (first, score), *_ = fuse([["x", "y"], ["y", "z"]])
    assert first == "y"
    assert abs(score - (1 / 62 + 1 / 61) / (2 / 61)) < 1e-12


@settings(deadline=None)
@given(Rankings)
def test_holds_every_item_once_ordered_with_scores_in_range(rankings: list[list[int]]) -> None:
    fused = fuse(rankings)
    assert {item for item, _ in fused} == {item for ranking in rankings for item in ranking}
    assert len({item for item, _ in fused}) == len(fused)
    assert all(0 < score <= 1 for _, score in fused)
    assert all(before >= after for (_, before), (_, after) in pairwise(fused))


@settings(deadline=None)
@given(Rankings)
def test_the_order_of_rankings_does_not_change_a_score(rankings: list[list[int]]) -> None:
    turned = list(reversed(rankings))
    before, after = dict(fuse(rankings)), dict(fuse(turned))
    assert before.keys() == after.keys()
    assert all(abs(before[item] - after[item]) < 1e-12 for item in before)


@settings(deadline=None)
@given(st.lists(st.integers(0, 100), unique=True, max_size=40))
def test_one_ranking_keeps_its_order(ranking: list[int]) -> None:
    assert [item for item, _ in fuse([ranking])] == ranking


@settings(deadline=None)
@given(Rankings, st.data())
def test_moving_an_item_to_the_front_never_lowers_its_score(rankings: list[list[int]], data: st.DataObject) -> None:
    items = [item for ranking in rankings for item in ranking]
    if not items:
        return
    item = data.draw(st.sampled_from(items))
    moved = [[item, *(other for other in ranking if other != item)] if item in ranking else ranking
             for ranking in rankings]  # fmt: skip
    assert dict(fuse(moved))[item] >= dict(fuse(rankings))[item] - 1e-12


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=20))
def test_a_repetition_counts_at_its_best_place_only(ranking: list[int]) -> None:
    assert fuse([ranking]) == fuse([list(dict.fromkeys(ranking))])

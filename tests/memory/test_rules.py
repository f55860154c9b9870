"""Identity of items, pieces of documents, fitness and citations."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somagent.domain.actions.local import Document
from somagent.domain.actions.remote import RememberParams
from somagent.domain.errors import Code, SomaError
from somagent.domain.memory.citations import NOTHING_FITS, Passage, compose
from somagent.domain.memory.filters import filters_of
from somagent.domain.memory.fitness import coverage, fitting
from somagent.domain.memory.items import LARGEST_KEY, item_of, piece_key, pieces_of


def test_without_key_the_same_content_is_the_same_item() -> None:
    once, again = (item_of(RememberParams(value={"b": 1, "a": [2]})) for _ in range(2))
    other = item_of(RememberParams(value={"b": 1, "a": [3]}))
    assert once.key == again.key != other.key
    assert once.text == '{"a":[2],"b":1}'
    assert once.namespace == "default"


def test_a_value_that_is_too_long_is_refused() -> None:
    with pytest.raises(SomaError) as refused:
        item_of(RememberParams(value=["x" * 150_000, "y" * 100_000]))
    assert refused.value.code is Code.PAYLOAD_TOO_LARGE


def test_what_postgres_cannot_hold_is_replaced() -> None:
    assert item_of(RememberParams(text="a\0b")).text == "a\ufffdb"


def test_pieces_are_keyed_by_path_and_number() -> None:
    text = "\n\n".join(f"Paragraph {number} says something of its own." for number in range(30))
    pieces = pieces_of(Document(path="notes/a.md", content=text, bytes=len(text)), "docs", ["x", "x"], 200)
    assert [piece.key for piece in pieces] == [f"notes/a.md#{n}" for n in range(1, len(pieces) + 1)]
    assert all(piece.tags == ("x",) and piece.metadata["pieces"] == len(pieces) for piece in pieces)
    assert len(pieces) > 3


@settings(deadline=None)
@given(st.text(min_size=1, max_size=5000), st.integers(1, 10**6))
def test_piece_keys_are_bounded(path: str, number: int) -> None:
    key = piece_key(path, number)
    assert len(key) <= LARGEST_KEY
    assert key.endswith(f"#{number}")


def test_unknown_filters_are_named() -> None:
    with pytest.raises(SomaError) as refused:
        filters_of({"tag": ["x"], "metadata": 3})
    assert refused.value.code is Code.PARAMS_INVALID
    assert {fault.path for fault in refused.value.errors} == {"filters.tag", "filters.metadata"}


@settings(deadline=None)
@given(st.dictionaries(st.integers(), st.lists(st.sampled_from("abcdef"))), st.sets(st.sampled_from("abcdef")))
def test_coverage_is_a_share(matched: dict[int, list[str]], question: set[str]) -> None:
    shares = coverage(question, matched)
    assert shares.keys() == matched.keys()
    for candidate, share in shares.items():
        assert 0 <= share <= 1 + 1e-9
        if question and question <= set(matched[candidate]):
            assert share == pytest.approx(1)


def test_a_word_that_nothing_holds_weighs_most() -> None:
    matched = {number: ["capital"] for number in range(20)}
    assert max(coverage(["capital", "mongolia"], matched).values()) < 0.5
    assert not fitting(["capit", "mongolia"], {**matched, 0: [], 1: ["capit"], 2: []})


def test_words_that_questions_are_asked_with_do_not_count() -> None:
    matched = {"near": ["effect"], "far": ["happen"], "nothing": []}
    assert fitting(["effect", "happen", "exact"], matched) == {"near"}
    assert fitting(["explain"], {"it": ["explain"], "not": []}) == {"it"}


def test_several_words_of_a_whole_sentence_are_enough() -> None:
    question = ["tide", "gate", "opera", "flood", "winter", "keeper"]
    assert fitting(question, {"some": ["tide", "gate", "flood"], "one": ["tide"], "none": []}) == {"some"}


def test_answers_quote_and_cite() -> None:
    passages = [
        Passage(1, "The relay starts lost workflows. It reads the outbox every half second."),
        Passage(2, "Notifications are posted with back-off. A webhook gets ten tries."),
    ]
    answer = compose("How many tries does a webhook get?", passages)
    assert "A webhook gets ten tries. [2]" in answer
    for quoted in re.split(r" \[\d\] ?", answer):
        assert not quoted or any(quoted in passage.text for passage in passages)


def test_a_tables_row_can_be_cited() -> None:
    table = "| Part | How |\n|---|---|\n| Redis | redis-server on PATH |\n| Kafka | jars by Maven |\n"
    assert compose("Where does Kafka come from?", [Passage(1, table)]) == "Kafka: jars by Maven [1]"


def test_code_alone_is_quoted_by_its_beginning() -> None:
    assert compose("rank", [Passage(1, "```\ndef rank(): ...\n```")]) == "``` def rank(): ... ``` [1]"


def test_without_passages_the_answer_says_so() -> None:
    assert compose("anything", []) == NOTHING_FITS


@settings(deadline=None)
@given(st.text(max_size=300), st.lists(st.text(max_size=400), min_size=1, max_size=4))
def test_any_text_gives_an_answer_that_cites_only_what_is_there(question: str, texts: list[str]) -> None:
    passages = [Passage(number, text) for number, text in enumerate(texts, start=1)]
    assert re.search(r"\[\d+\]$", compose(question, passages))

"""Summaries, answers, keywords: only the text's own words, within the limits, in its order."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from somagent.domain.actions.remote import ChatMessage
from somagent.domain.slm.answer import NO_MATERIAL, NOTHING_RELATED, answer
from somagent.domain.slm.blocks import BlockKind, blocks
from somagent.domain.slm.keywords import keywords
from somagent.domain.slm.material import Material, material_of, split_prompt
from somagent.domain.slm.sentences import sentences, split_sentences
from somagent.domain.slm.summary import rank_sentences, summarise
from somagent.domain.slm.tfidf import term_matrix
from somagent.domain.slm.tokens import estimate_tokens
from somagent.domain.slm.words import stem, terms, words

ARTICLE = """# The harbour of Ems

The harbour of Ems was built in 1721 by Dr. J. Vogel. It served the grain trade of the whole valley. Grain
from the valley was shipped to the coast twice a week, i.e. on Mondays and Fridays.

## Decline

After the railway came in 1884, the grain trade left the harbour. The railway carried grain to the coast in
four hours. The ships had needed two days. By 1900 the harbour stood empty!

- The warehouses were sold to a brewery.
- The quay became a market.

```python
print("The harbour. Not prose.")
```

| year | ships |
|------|-------|
| 1850 | 400   |

Today the harbour is a museum of the grain trade. Its director says the railway was "no enemy, only faster." A few
visitors come by train.
"""

prose = st.text(alphabet="abcdefghijklm nopqr. !?\n-#*>|éß中。'\"([", max_size=400)


def squeezed(text: str) -> str:
    return " ".join(text.split())


def test_blocks_leave_out_what_is_no_prose() -> None:
    found = blocks(ARTICLE)
    assert [block.text for block in found if block.kind is BlockKind.HEADING] == ["The harbour of Ems", "Decline"]
    assert [block.text for block in found if block.kind is BlockKind.ITEM] == [
        "The warehouses were sold to a brewery.", "The quay became a market."
    ]  # fmt: skip
    assert not any("print" in block.text or "1850" in block.text for block in found)


@pytest.mark.parametrize(
    ("paragraph", "count"),
    [
        ("Dr. Meier met Mr. J. R. Smith at 3.5 km, i.e. near No. 5. They talked.", 2),
        ("It rained! Did it? Yes... It did.", 4),
        ('He said "Stop." Then he left.', 2),
        ("Das kostet z. B. 5 Euro. Am 3. Mai wird bezahlt, d. h. bald. Gut.", 3),
        ("今天下雨。明天晴天！后天呢？", 3),
        ("Version 1.2.3 is out, see example.com/a.b for more.", 1),
        ("we met at 5 p.m. and left. It ended at 6 p.m. Nobody stayed.", 3),
        ("¿Qué hora es? Son las tres. ¡Vámonos!", 3),
    ],
)
def test_sentences_of_a_paragraph(paragraph: str, count: int) -> None:
    assert len(list(split_sentences(paragraph))) == count


def test_log_lines_and_wrapped_lines() -> None:
    log = "2026-01-01 10:00 INFO started\n2026-01-01 10:01 ERROR payment failed for order 7\n2026-01-01 10:02 INFO done"
    assert len(sentences(log)) == 3
    assert len(sentences("A line that was wrapped\nby an editor goes on. And\nso does this.")) == 2
    assert [item.text for item in sentences("Service: payments\nSeverity: high")] == [
        "Service: payments",
        "Severity: high",
    ]


def test_summary_of_an_article() -> None:
    summary = summarise(ARTICLE, 200)
    assert "After the railway came in 1884, the grain trade left the harbour." in summary.text
    assert "visitors" not in summary.text
    assert 3 <= len(summary.sentences) < len(sentences(ARTICLE))


@settings(deadline=None)
@given(prose, st.integers(1, 80))
def test_summary_is_the_texts_own_words_in_order_within_the_limit(text: str, limit: int) -> None:
    summary = summarise(text, limit)
    own = [sentence.text for sentence in sentences(text)]
    assert all(sentence.text in own for sentence in summary.sentences)
    places = [sentence.position for sentence in summary.sentences]
    assert places == sorted(set(places))
    if summary.sentences:
        assert estimate_tokens(summary.text) <= limit
    assert bool(summary.text) == bool(own)
    assert summarise(text, limit) == summary


@settings(deadline=None)
@given(prose)
def test_sentences_are_in_the_text(text: str) -> None:
    plain = squeezed(text.replace(">", " "))
    for sentence in sentences(text):
        assert sentence.text
        if sentence.kind is not BlockKind.PARAGRAPH or ">" in text:
            continue
        assert sentence.text in plain


@settings(deadline=None)
@given(st.lists(st.sampled_from(["grain ships left", "railway came", "ships came late", "cats sleep", ""]), min_size=1))
def test_ranks_are_a_distribution_that_solves_pagerank(texts: list[str]) -> None:
    matrix = term_matrix(texts)
    ranks = rank_sentences(matrix)
    assert ranks.sum() == pytest.approx(1.0)
    assert (ranks > 0).all()
    similarity = np.array([matrix.similarity_to(index) for index in range(len(texts))])
    np.fill_diagonal(similarity, 0.0)
    degree = similarity.sum(axis=1)
    walk = np.where(degree[:, None] > 1e-12, similarity / np.maximum(degree, 1e-300)[:, None], 1.0 / len(texts))
    assert ranks == pytest.approx(0.15 / len(texts) + 0.85 * walk.T @ ranks, abs=1e-6)


def test_central_sentence_ranks_first() -> None:
    matrix = term_matrix(["the harbour trade", "the railway trade", "harbour and railway and trade", "cats sleep"])
    assert int(np.argmax(rank_sentences(matrix))) == 2


def test_no_sentence_twice() -> None:
    text = "\n\n".join(["The harbour trade fell when the railway came."] * 8 + ["The museum opened in the harbour."])
    assert summarise(text, 200).text.count("railway") == 1


def test_answer_is_the_related_sentence() -> None:
    question = Material("When did the railway come?", ARTICLE)
    assert answer(question, 200).startswith("After the railway came in 1884")
    assert answer(Material("How fast was shipping?", ARTICLE), 200).startswith("Grain from the valley was shipped")


def test_the_question_is_no_answer() -> None:
    known = "Where is the Eiffel Tower?\n\nThe Eiffel Tower is in Paris."
    assert answer(Material("Where is the Eiffel Tower?", known), 100) == "The Eiffel Tower is in Paris."
    assert answer(Material("Where is the Eiffel Tower?", "where is the eiffel tower?"), 100) == NOTHING_RELATED


def test_a_question_inside_a_long_text_is_the_texts_own() -> None:
    text = f"{ARTICLE}\nWhy did it fall? Nobody knows that for sure.\n\nThe town grew on."
    assert split_prompt(text) == Material("", text)


def test_answers_without_text_say_so() -> None:
    assert answer(Material("What is the capital of France?", ""), 100) == NO_MATERIAL
    assert answer(Material("", "Hello there."), 100) == NO_MATERIAL
    assert answer(Material("Who won the football cup?", ARTICLE), 100) == NOTHING_RELATED
    for said in (NO_MATERIAL, NOTHING_RELATED):
        assert "builtin/" not in said


def test_order_without_subject_is_a_summary() -> None:
    assert answer(Material("Summarise the following text", ARTICLE), 150) == summarise(ARTICLE, 150).text


@pytest.mark.parametrize(
    ("prompt", "question", "body"),
    [
        ("Summarise the following:\n\nThe cat sat.", "Summarise the following", "The cat sat."),
        ("Summarize: The cat sat.\nIt slept.", "Summarize", "The cat sat.\nIt slept."),
        ("The cat sat.\n\nWhere did the cat sit?", "Where did the cat sit?", "The cat sat."),
        ("Context:\nThe cat sat.\n\nQuestion: Who sat?", "Who sat?", "The cat sat."),
        ("Answer from the sources.\n\n[1] The cat sat.\n\nQuestion: the sitter", "Answer from the sources.\nthe sitter",
         "[1] The cat sat."),
        ("You are a poet.\n\nThe cat sat.", "You are a poet.", "The cat sat."),
        ("What is a cat?", "What is a cat?", ""),
        ("The cat sat down. It slept. Where did it sit?", "Where did it sit?", "The cat sat down. It slept."),
        ("- The cat sat\n- The dog ran\nWho sat?", "Who sat?", "The cat sat\n\nThe dog ran"),
        ("Old news.\n\nThe cat sat down. Who sat?", "Who sat?", "Old news.\n\nThe cat sat down."),
        ("Hello! What is a cat?", "Hello! What is a cat?", ""),
        ("Summarise:\n\nIt rained all day. Did it stop?", "Summarise", "It rained all day. Did it stop?"),
        ("# Report\n\nThe cat sat.", "", "# Report\n\nThe cat sat."),
        ("Service: payments\nSeverity: high", "", "Service: payments\nSeverity: high"),
    ],
)  # fmt: skip
def test_prompt_is_parted(prompt: str, question: str, body: str) -> None:
    assert split_prompt(prompt) == Material(question, body)


def test_persona_is_no_source() -> None:
    material = material_of(
        [
            ChatMessage(role="system", content="A precise analyst.\n\nNever guess.\n\nContext:\nLunch is at noon."),
            ChatMessage(role="user", content="My room is 5."),
            ChatMessage(role="assistant", content="Noted: the moon is cheese."),
            ChatMessage(role="tool", content="Room 5 is booked."),
            ChatMessage(role="user", content="When is lunch?"),
        ]
    )
    assert material == Material("When is lunch?", "Lunch is at noon.\n\nMy room is 5.\n\nRoom 5 is booked.")


def test_keywords_are_the_texts_own() -> None:
    found = keywords(ARTICLE, 6)
    assert "grain trade" in found
    assert all(word.casefold() in squeezed(ARTICLE).casefold() for word in found)


@settings(deadline=None)
@given(prose, st.integers(0, 5))
def test_keywords_are_bounded_and_distinct(text: str, limit: int) -> None:
    found = keywords(text, limit)
    assert len(found) <= limit
    assert len({word.casefold() for word in found}) == len(found)


def test_words() -> None:
    assert words("Don’t STOP, ﬁne 中文 x2") == ["don't", "stop", "fine", "中", "文", "x2"]
    assert terms("the deployments of queries") == ["deployment", "query"]
    assert [stem(word) for word in ("buses", "class", "status", "ponies", "cat's")] == [
        "buse", "class", "status", "pony", "cat"
    ]  # fmt: skip


@given(st.text(max_size=200), st.text(max_size=200))
def test_tokens_add_up(left: str, right: str) -> None:
    assert estimate_tokens(f"{left} {right}") == estimate_tokens(left) + estimate_tokens(right)


def test_tokens_of_prose_are_near_four_characters_each() -> None:
    assert len(ARTICLE) / 5.5 < estimate_tokens(ARTICLE) < len(ARTICLE) / 3
    assert estimate_tokens("") == 0
    assert estimate_tokens("人工智能") == 4


@pytest.mark.parametrize(
    "hostile",
    [
        "<!--",
        "```\n",
        ".",
        "you are.",
        "# a" + " " * 50,
        "| ",
        "- ",
        "a: ",
        "\n",
        '(["',
        '?" ',
        "**",
        "a. b. ",
        "---\n",
        "It is so. Is it? ",
        "- a\n",
    ],
)
def test_hostile_text_takes_linear_time(hostile: str) -> None:
    text = hostile * (300_000 // len(hostile)) + "x"
    started = time.process_time()
    summarise(text, 50)
    material = split_prompt(text)
    answer(Material("what is x?", material.body), 50)
    split_prompt(f"{text} is so. Is it?")
    assert time.process_time() - started < 30.0

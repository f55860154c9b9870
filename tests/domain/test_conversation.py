"""What a model is told of a conversation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from somagent.domain.capsules.definition import Persona
from somagent.domain.conversation import (
    ANSWER_TOKENS,
    EARLIER_TOKENS,
    EARLIER_TURNS,
    KNOWN_TOKENS,
    Exchange,
    conversation,
    most_tokens,
)
from somagent.domain.slm.tokens import estimate_messages, estimate_tokens

TEXT = st.text(max_size=400)


def test_persona_then_knowledge_then_what_was_said_then_the_prompt() -> None:
    messages = conversation(
        "And now?",
        persona=Persona(name="keeper", traits=("kind", "brief"), system_prompt="You keep the light."),
        known=["The light is red.", "The light is red.", "The tower is white."],
        earlier=[Exchange("Who are you?", "The keeper.")],
    )
    assert [message.role for message in messages] == ["system", "system", "user", "assistant", "user"]
    assert messages[0].content == "You keep the light.\nYou are kind, brief."
    assert messages[1].content == "What is known:\n\nThe light is red.\n\nThe tower is white."
    assert messages[-1].content == "And now?"


def test_without_anything_the_prompt_stands_alone() -> None:
    assert [message.role for message in conversation("Hello", persona=Persona())] == ["user"]


def test_the_latest_turns_are_kept() -> None:
    earlier = [Exchange(f"question {number}", f"answer {number}") for number in range(EARLIER_TURNS + 5)]
    messages = conversation("Now?", earlier=earlier)
    assert messages[0].content == "question 5"
    assert messages[-2].content == f"answer {EARLIER_TURNS + 4}"


def test_a_turn_too_long_ends_what_is_remembered_of_the_conversation() -> None:
    long = Exchange("word " * (EARLIER_TOKENS + 1), "yes")
    messages = conversation("Now?", earlier=[Exchange("first", "one"), long, Exchange("last", "three")])
    assert [message.content for message in messages] == ["last", "three", "Now?"]


@given(
    TEXT.filter(bool), st.lists(TEXT, max_size=40), st.lists(st.builds(Exchange, prompt=TEXT, answer=TEXT), max_size=40)
)
def test_no_conversation_takes_more_than_was_judged(prompt: str, known: list[str], earlier: list[Exchange]) -> None:
    messages = conversation(prompt, known=known, earlier=earlier)
    framing = 4 * len(messages) + estimate_tokens("What is known:") + len(known) + 1
    assert estimate_messages(messages) + ANSWER_TOKENS <= most_tokens(prompt) + framing
    assert most_tokens(prompt) == estimate_tokens(prompt) + EARLIER_TOKENS + KNOWN_TOKENS + ANSWER_TOKENS
    assert messages[-1].content == prompt

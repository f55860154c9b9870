"""What a prompt asks, and what text it gives to answer from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from somagent.domain.actions.remote import ChatMessage
from somagent.domain.slm.sentences import Sentence, sentences

_LONGEST_INSTRUCTION: Final = 600
_PARAGRAPHS: Final = re.compile(r"\n[ \t]*\n+")
_DIRECTIVE: Final = re.compile(
    r"^(?:please\s+|kindly\s+|bitte\s+|now\s+|carefully\s+|briefly\s+|you (?:are|will|must|should)\b[^.:\n]*[.:]\s+)*"
    r"(?:summari[sz]e|condense|shorten|digest|explain|list|extract|answer|describe|write|give|tell|produce|create"
    r"|draft|analy[sz]e|identify|compare|classify|translate|rewrite|respond|reply|provide|outline|quote"
    r"|fasse|erkläre|nenne|beschreibe|beantworte|liste)\b",
    re.IGNORECASE,
)
_REQUEST: Final = re.compile(
    r"^(?:please |bitte )?(?:find|name|state|report|make|return|show|help|continue|turn|draw|plan)\b", re.IGNORECASE
)
_PERSONA: Final = re.compile(
    r"^(?:you(?:'re| are| will| must| should| may| can)\b|act as\b|your (?:task|job|role|answer)\b|do not\b|don't\b"
    r"|never\b|always\b|only\b|be \w+)",
    re.IGNORECASE,
)
_LABEL: Final = re.compile(
    r"^\W{0,4}(?P<label>question|frage|query|task|instruction|instructions|aufgabe|context|kontext|text|document|documents"
    r"|source|sources|passage|passages|notes|input|content|material|data)\W{0,3}:\W{0,3}(?P<rest>.*)$",
    re.IGNORECASE,
)
_MARKED_UP: Final = re.compile(r"^[ \t]*(?:```|~~~|\||#|[{\[][ \t]*[\"{\[])", re.MULTILINE)
_TO_MODEL: Final = re.compile(
    r"^(?:you (?:are|will|must|should)\b|act as\b|your (?:task|job|role|answer)\b)", re.IGNORECASE
)
_BELOW_LIST: Final = re.compile(
    r"(?P<item>(?:^|\n)[ \t]*(?:[-*+•–]|\d{1,3}[.)])[ \t][^\n]*)\n(?=[^\s\-*+•–\d][^\n]*[?？]$)"
)
_ANSWERING: Final = re.compile(r"\b(?:answer|question|questions|beantworte|frage|fragen)\b", re.IGNORECASE)
_FEWEST_TOLD: Final = 3
"""Words of a sentence that tells something; fewer are a greeting or thanks."""
_ASKING_LABELS: Final = frozenset(("question", "frage", "query", "task", "instruction", "instructions", "aufgabe"))


@dataclass(frozen=True, slots=True)
class Material:
    """A prompt taken apart: ``question`` is what is asked for, ``body`` the text to answer from; each may be empty."""

    question: str
    body: str


def material_of(messages: Sequence[ChatMessage], *, by_sentence: bool = True) -> Material:
    """What a conversation asks, and the text it gives.

    The last user message is taken apart by :func:`split_prompt`. What users and tools said before it is text too;
    so are a system message's paragraphs, save those that address the model (a persona, rules). What the assistant
    said is not: an answer must not rest on an earlier one.

    Args:
        by_sentence: as in :func:`split_prompt`.
    """
    last = max((index for index, message in enumerate(messages) if message.role == "user"), default=-1)
    given: list[str] = []
    asked = Material("", "")
    for index, message in enumerate(messages):
        if index == last:
            asked = split_prompt(message.content, by_sentence=by_sentence)
            given.append(asked.body)
        elif message.role == "system":
            given.append(_without_persona(message.content))
        elif message.role == "tool":
            given.append(message.content)
        elif message.role == "user":
            earlier = split_prompt(message.content, by_sentence=by_sentence)
            given.append(earlier.body)
    return Material(asked.question, "\n\n".join(text for text in given if text.strip()))


def split_prompt(prompt: str, *, by_sentence: bool = True) -> Material:
    """Parts the instruction or question of a prompt from the text it is about.

    In this order: labelled parts (``Context:``, ``Question:``); a first line or paragraph that ends in a colon or
    orders something, with text after it; an order and a colon at the start of the text's own line; a last paragraph
    that asks. What is left is text, unless it is a single question or order.

    Args:
        by_sentence: whether a paragraph that tells something and asks is parted too, its questions from the rest.
    """
    text = prompt.replace("\r\n", "\n").strip()
    parted = _labelled(text) or _introduced(text) or _closing_question(text)
    if not by_sentence:
        return parted or _alone(text)
    return _answering(parted) if parted else (_in_sentences(text) or _alone(text))


def _labelled(text: str) -> Material | None:
    question: list[str] = []
    body: list[str] = []
    target: list[str] | None = None
    lead: list[str] = []
    labels = set()
    for line in text.split("\n"):
        label = _LABEL.match(line)
        if label is not None:
            name = label["label"].casefold()
            labels.add(name)
            target = question if name in _ASKING_LABELS else body
            line = label["rest"]
        (lead if target is None else target).append(line)
    if not labels & _ASKING_LABELS or not labels - _ASKING_LABELS:
        return None
    return Material(_joined([*lead, *question]), "\n".join(body).strip())


def _introduced(text: str) -> Material | None:
    first_line, _, rest = text.partition("\n")
    if rest.strip() and _introduces(first_line, rest):
        return _with_closing(first_line.rstrip(": "), rest)
    paragraphs = _PARAGRAPHS.split(text, maxsplit=1)
    opening = paragraphs[0].strip()
    if len(paragraphs) == 2 and _orders(opening):
        return _with_closing(opening.rstrip(": "), paragraphs[1])
    order, colon, remainder = first_line.partition(":")
    if colon and _DIRECTIVE.match(order) and len(order) <= 120 and remainder.strip():
        return _with_closing(order.strip(), f"{remainder}\n{rest}")
    return None


def _introduces(first_line: str, rest: str) -> bool:
    if len(first_line) > _LONGEST_INSTRUCTION or not first_line.rstrip().endswith(":"):
        return False
    return _addresses_model(first_line) or not _looks_like_data(rest)


def _orders(opening: str) -> bool:
    if len(opening) > _LONGEST_INSTRUCTION or opening.startswith(("#", "-", "*")):
        return False
    return opening.endswith((":", "?")) or _addresses_model(opening)


def _addresses_model(text: str) -> bool:
    return _DIRECTIVE.match(text) is not None or _PERSONA.match(text) is not None


def _closing_question(text: str) -> Material | None:
    before, _, closing = text.rpartition("\n\n")
    closing = closing.strip()
    if not before.strip() or len(closing) > _LONGEST_INSTRUCTION:
        return None
    label = _LABEL.match(closing)
    if label is not None and label["label"].casefold() in _ASKING_LABELS:
        return Material(closing[label.start("rest") :].strip(), before.strip())
    return Material(closing, before.strip()) if _asks(closing) else None


def _answering(parted: Material) -> Material:
    """What was told in the same breath as the question is text, and so is no question of an "Answer this: ..."."""
    if (asked := _in_sentences(parted.question)) is not None:
        return Material(asked.question, f"{parted.body}\n\n{asked.body}".strip())
    if _ANSWERING.search(parted.question) and not parted.question.endswith("?"):
        inside = _in_sentences(parted.body)
        return Material(f"{parted.question}\n{inside.question}", inside.body) if inside else parted
    return parted


def _in_sentences(text: str) -> Material | None:
    """Parts questions from the sentences around them; None where there are not both.

    A question inside a long text is the text's own: only its first and last sentence ask the reader. What is more than
    prose is left whole.
    """
    if "?" not in text and "？" not in text:
        return None
    if _MARKED_UP.search(text) or _looks_like_data(text):
        return None
    found = sentences(_BELOW_LIST.sub(r"\g<item>\n\n", text))
    short = len(text) <= _LONGEST_INSTRUCTION and "\n\n" not in text
    asking = [one for one in (found if short else _edges(found)) if one.text.endswith(("?", "？"))]
    questions = {one.position for one in asking}
    if not questions:
        return None
    orders = {one.position for one in found if _DIRECTIVE.match(one.text) or _TO_MODEL.match(one.text)}
    told = [one for one in found if one.position not in questions | orders]
    if not any(len(one.text.split()) >= _FEWEST_TOLD or not one.text.isascii() for one in told):
        return None
    asked = " ".join(one.text for one in found if one.position in questions | orders)
    return Material(asked, _paragraphs(told))


def _edges(found: Sequence[Sentence]) -> list[Sentence]:
    return [found[0], found[-1]] if found else []


def _paragraphs(told: Sequence[Sentence]) -> str:
    by_block: dict[int, list[str]] = {}
    for sentence in told:
        by_block.setdefault(sentence.block, []).append(sentence.text)
    return "\n\n".join(" ".join(texts) for texts in by_block.values())


def _alone(text: str) -> Material:
    short = len(text) <= _LONGEST_INSTRUCTION and "\n\n" not in text
    if short and (_asks(text) or _PERSONA.match(text)) and not _looks_like_data(text):
        return Material(text, "")
    return Material("", text)


def _with_closing(question: str, rest: str) -> Material:
    """The body after an instruction may itself end with the question proper."""
    closing = _closing_question(rest.strip())
    if closing is not None:
        return Material(f"{question}\n{closing.question}", closing.body)
    return Material(question, rest.strip())


def _asks(text: str) -> bool:
    orders = _DIRECTIVE.match(text) or _REQUEST.match(text)
    return text.endswith(("?", "？")) or orders is not None


def _looks_like_data(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    return len(lines) > 1 and sum(1 for line in lines if re.match(r"^\s*[\w /()-]{1,40}:\s", line)) * 2 > len(lines)


def _without_persona(text: str) -> str:
    """A system message without what addresses the model: its first paragraph, and later ones that order something.

    Text after a line that ends in a colon, or under a label, is the reader's text wherever it stands.
    """
    kept = []
    for index, paragraph in enumerate(_PARAGRAPHS.split(text.strip())):
        first, newline, rest = paragraph.strip().partition("\n")
        label = _LABEL.match(first)
        if label is not None and label["label"].casefold() not in _ASKING_LABELS:
            kept.append((label["rest"] + newline + rest).strip())
        elif index == 0 or _addresses_model(first):
            kept.append(rest if first.rstrip().endswith(":") else "")
        else:
            kept.append(paragraph.strip())
    return "\n\n".join(paragraph for paragraph in kept if paragraph)


def _joined(lines: Sequence[str]) -> str:
    return " ".join(" ".join(lines).split())

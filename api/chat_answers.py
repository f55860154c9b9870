"""A model's answer in OpenAI's shapes: whole, or as the chunks of a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import orjson

from somagent.api.chat_schemas import AnswerMessage, ChatBody, ChatCompletion, Choice, Usage
from somagent.domain.slm.messages import SlmResponse

_PIECES: Final = re.compile(r"\S+\s*|\s+")
_WORDS_A_CHUNK: Final = 8


def completion_of(body: ChatBody, response: SlmResponse, created: int) -> ChatCompletion:
    """The answer as a whole."""
    metrics = response.metrics
    value = response.result.completion if response.result else None
    content = value if isinstance(value, str) else orjson.dumps(value).decode()
    cut = metrics.completion_tokens >= body.most_tokens and not metrics.estimated
    return ChatCompletion(
        id=f"chatcmpl-{response.request_id}",
        created=created,
        model=metrics.model,
        choices=[Choice(message=AnswerMessage(content=content), finish_reason="length" if cut else "stop")],
        usage=Usage(
            prompt_tokens=metrics.prompt_tokens,
            completion_tokens=metrics.completion_tokens,
            total_tokens=metrics.total_tokens,
        ),
    )


def chunks_of(answer: ChatCompletion, *, include_usage: bool) -> Iterator[bytes]:
    """The answer as server-sent chunks. They are made when the answer is there: a queue hands over whole answers."""
    choice = answer.choices[0]
    yield _chunk(answer, {"role": "assistant", "content": ""}, None, include_usage)
    pieces = _PIECES.findall(choice.message.content)
    for start in range(0, len(pieces), _WORDS_A_CHUNK):
        yield _chunk(answer, {"content": "".join(pieces[start : start + _WORDS_A_CHUNK])}, None, include_usage)
    yield _chunk(answer, {}, choice.finish_reason, include_usage)
    if include_usage:
        yield _event({**_head(answer), "choices": [], "usage": answer.usage.model_dump()})
    yield b"data: [DONE]\n\n"


def _chunk(answer: ChatCompletion, delta: dict[str, str], finish_reason: str | None, include_usage: bool) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    chunk = {**_head(answer), "choices": [choice]}
    return _event({**chunk, "usage": None} if include_usage else chunk)


def _head(answer: ChatCompletion) -> dict[str, object]:
    return {"id": answer.id, "object": "chat.completion.chunk", "created": answer.created, "model": answer.model}


def _event(document: dict[str, object]) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"

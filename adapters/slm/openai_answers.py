"""The parts of a model server's answers that we read; whatever else it says is its own affair."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from somagent.domain.actions.remote import ChatMessage, SlmUsage
from somagent.domain.errors import Code, SomaError
from somagent.domain.slm.tokens import estimate_messages, estimate_tokens


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


_M = TypeVar("_M", bound=_Wire)


class _Counts(_Wire):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Message(_Wire):
    content: str | None = None


class _Choice(_Wire):
    message: _Message
    finish_reason: str | None = None


class _Chat(_Wire):
    model: str | None = None
    choices: list[_Choice]
    usage: _Counts | None = None


class _Vector(_Wire):
    index: int | None = None
    embedding: list[float]


class _Vectors(_Wire):
    model: str | None = None
    data: list[_Vector]
    usage: _Counts | None = None


class _Listed(_Wire):
    id: str


class _Models(_Wire):
    data: list[_Listed]


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """A completion's text, who wrote it, and the server's token counts where it gave any."""

    text: str
    model: str
    counted: tuple[int, int] | None

    @classmethod
    def read(cls, value: JsonValue, server: str, model: str) -> Self:
        """Reads an answer.

        Raises:
            SomaError: SLM_FAILED where it is none, or empty.
        """
        answer = _checked(_Chat, value, server)
        text = answer.choices[0].message.content if answer.choices else None
        if not text:
            detail = f"{answer.model or model} at {server} answered with nothing. Try again, or with more max_tokens."
            raise SomaError(Code.SLM_FAILED, detail)
        return cls(text, answer.model or model, _counts(answer.usage))


@dataclass(frozen=True, slots=True)
class EmbeddingAnswer:
    """Vectors in the order of the inputs."""

    vectors: list[list[float]]
    model: str
    counted: tuple[int, int] | None

    @classmethod
    def read(cls, value: JsonValue, server: str, expected: int) -> Self:
        """Reads an answer to ``expected`` inputs.

        Raises:
            SomaError: SLM_FAILED where it is none; EMBEDDING_DIMENSION_MISMATCH where its vectors differ in length.
        """
        answer = _checked(_Vectors, value, server)
        ordered = sorted(answer.data, key=lambda vector: vector.index or 0)
        vectors = [vector.embedding for vector in ordered]
        if len(vectors) != expected or not all(vectors) or not all(map(math.isfinite, (x for v in vectors for x in v))):
            detail = f"The model server {server} gave {len(vectors)} usable vectors for {expected} inputs."
            raise SomaError(Code.SLM_FAILED, detail)
        if len({len(vector) for vector in vectors}) > 1:
            detail = f"The model server {server} gave vectors of different dimensions in one answer."
            raise SomaError(Code.EMBEDDING_DIMENSION_MISMATCH, detail)
        return cls(vectors, answer.model or "", _counts(answer.usage))

    def usage(self, texts: list[str]) -> SlmUsage:
        """The server's count, else ours."""
        tokens = self.counted[0] if self.counted else sum(map(estimate_tokens, texts))
        return SlmUsage(prompt_tokens=tokens, completion_tokens=0, total_tokens=tokens, estimated=self.counted is None)


class ModelList:
    """The models of a server."""

    @staticmethod
    def read(value: JsonValue, server: str) -> list[str]:
        """Their names."""
        return [model.id for model in _checked(_Models, value, server).data]


def usage_of(answer: ChatAnswer, conversation: list[ChatMessage]) -> SlmUsage:
    """The server's count of tokens, else our estimate, flagged."""
    prompt, completion = answer.counted or (estimate_messages(conversation), estimate_tokens(answer.text))
    return SlmUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        estimated=answer.counted is None,
    )


def _counts(usage: _Counts | None) -> tuple[int, int] | None:
    if usage is None or usage.prompt_tokens is None or usage.prompt_tokens < 0:
        return None
    return usage.prompt_tokens, max(0, usage.completion_tokens or 0)


def _checked(kind: type[_M], value: JsonValue, server: str) -> _M:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        where = ", ".join(".".join(map(str, fault["loc"])) or "the whole" for fault in error.errors()[:3])
        detail = f"The model server {server} sent JSON that is no answer (at {where})."
        raise SomaError(Code.SLM_FAILED, detail) from error

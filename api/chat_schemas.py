"""Bodies and answers of the OpenAI-compatible endpoints, as far as they mean something here.

Clients send many fields; what is not named here is ignored, as OpenAI's own servers of older versions do.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from somagent.domain.actions.remote import ChatMessage
from somagent.domain.model import JsonObject


class Lenient(BaseModel):
    """Frozen; unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class TextPart(Lenient):
    """A part of a message. Images and sounds have no reader here."""

    type: Literal["text"]
    text: str


class Message(Lenient):
    """One message; ``developer`` speaks as ``system``."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        """What it says."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""

    def to_message(self) -> ChatMessage:
        """As the queue knows it."""
        known = {"developer": "system", "function": "tool"}.get(self.role, self.role)
        return ChatMessage.model_validate({"role": known, "content": self.text})


class JsonSchema(Lenient):
    name: str = "answer"
    schema_: JsonObject = Field(alias="schema")


class ResponseFormat(Lenient):
    """``json_schema`` answers as a value of the schema, ``json_object`` as any object."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None

    @property
    def wanted(self) -> JsonObject | None:
        """The schema of the answer; None for text."""
        if self.type == "text":
            return None
        if self.type == "json_schema" and self.json_schema is not None:
            return self.json_schema.schema_
        return {"type": "object"}


class StreamOptions(Lenient):
    include_usage: bool = False


class ChatBody(Lenient):
    """``model``: ``auto``, a role, or a name that `GET /v1/models` lists."""

    model: Annotated[str, Field(min_length=1, max_length=200)] = "auto"
    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    max_tokens: Annotated[int, Field(ge=1, le=8192)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=8192)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    response_format: ResponseFormat | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, Field(max_length=256)] | None = None

    @property
    def most_tokens(self) -> int:
        """Tokens that the answer may have."""
        return self.max_completion_tokens or self.max_tokens or 512

    @property
    def said_now(self) -> str:
        """What people say since the assistant spoke last: the newest user message, or several in a row."""
        new: list[str] = []
        for message in reversed(self.messages):
            if message.role == "assistant" and new:
                break
            if message.role == "user":
                new.append(message.text)
        return "\n".join(reversed(new)) if new else self.messages[-1].text


class Usage(Lenient):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AnswerMessage(Lenient):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(Lenient):
    index: int = 0
    message: AnswerMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(Lenient):
    """An answer in OpenAI's shape. ``model`` is what answered, whatever was asked for."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class ModelEntry(Lenient):
    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "somagent"


class ModelEntries(Lenient):
    object: Literal["list"] = "list"
    data: list[ModelEntry]

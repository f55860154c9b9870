"""What travels on slm.requests, slm.responses and slm.dead: version ``v1`` of the contract's messages."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from somagent.domain.actions.remote import ChatMessage, SlmCompleteOutput, SlmEmbedOutput, SlmRole, SlmUsage
from somagent.domain.model import JsonObject, Model

REQUESTS: Final = "slm.requests"
RESPONSES: Final = "slm.responses"
DEAD: Final = "slm.dead"


class SlmParameters(Model):
    """How to answer: at most ``max_tokens`` tokens; as a value of ``schema`` (JSON Schema) where it is given."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    max_tokens: Annotated[int, Field(ge=1, le=8192)] = 512
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.2
    schema_: JsonObject | None = Field(default=None, alias="schema")


class SlmMetadata(Model):
    """Who waits for the answer. The consumer passes it on untouched, so further fields are allowed.

    Attributes:
        workflow_id: the waiting workflow; with ``activity_id`` it names the activity to complete.
        budget: what was reserved for the call (ids and amounts), for whoever settles it.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    job_id: str | None = None
    step_id: str | None = None
    workflow_id: str | None = None
    activity_id: str | None = None
    capsule_id: str | None = None
    user_id: str | None = None
    traceparent: str | None = None
    budget: JsonObject | None = None


class SlmRequest(Model):
    """One question to a model. ``request_id`` is the same over attempts, and the key of the stored answer.

    Exactly one of ``prompt``, ``messages`` (kind ``complete``) and ``input`` (kind ``embed``) is given.
    """

    version: Literal["v1"] = "v1"
    request_id: Annotated[str, Field(min_length=1, max_length=400)]
    tenant: Annotated[str, Field(min_length=1, max_length=200)]
    session_id: str | None = None
    role: SlmRole
    kind: Literal["complete", "embed"] = "complete"
    prompt: Annotated[str, Field(min_length=1)] | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    input: Annotated[list[str], Field(min_length=1)] | None = None
    parameters: SlmParameters = Field(default_factory=SlmParameters)
    metadata: SlmMetadata = Field(default_factory=SlmMetadata)
    timestamp: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        given = [name for name in ("prompt", "messages", "input") if getattr(self, name) is not None]
        wanted = "`input`" if self.kind == "embed" else "`prompt` or `messages`"
        if len(given) != 1 or (given[0] == "input") != (self.kind == "embed"):
            raise ValueError(f"kind `{self.kind}` takes exactly one of {wanted}")
        return self

    @property
    def ordering_key(self) -> str:
        """What the queue orders by: requests of one session are answered in the order they were asked."""
        return self.session_id or self.request_id

    def conversation(self) -> list[ChatMessage]:
        """The question as messages, whichever way it was put."""
        if self.messages is not None:
            return list(self.messages)
        return [ChatMessage(role="user", content=self.prompt or "")]

    def to_bytes(self) -> bytes:
        """The message as it travels: UTF-8 JSON."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


class SlmResult(Model):
    """``completion`` for kind ``complete`` (text, or the parsed value), ``vectors`` for kind ``embed``."""

    completion: JsonValue = None
    vectors: list[list[float]] | None = None


class SlmMetrics(Model):
    """What the call took. ``latency_ms`` is the provider's call alone; ``cost`` is in the operator's currency.

    ``estimated`` says that the token counts are our estimate, not the server's.
    """

    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    estimated: bool = False
    latency_ms: float = 0.0
    cost: float = 0.0
    attempts: int = 0


class SlmFailure(Model):
    """Why there is no answer: a stable code, a sentence, and whether asking again can help."""

    code: str
    detail: str
    retryable: bool
    retry_after: float | None = None


class SlmResponse(Model):
    """The answer to one request: ``result`` or ``error``, never both."""

    version: Literal["v1"] = "v1"
    request_id: str
    session_id: str | None = None
    role: SlmRole
    result: SlmResult | None = None
    metrics: SlmMetrics = Field(default_factory=SlmMetrics)
    error: SlmFailure | None = None

    @model_validator(mode="after")
    def _one_outcome(self) -> Self:
        if (self.result is None) == (self.error is None):
            raise ValueError("an answer has either `result` or `error`")
        return self

    def to_bytes(self) -> bytes:
        """The message as it travels: UTF-8 JSON."""
        return self.model_dump_json().encode()

    def to_output(self) -> SlmCompleteOutput | SlmEmbedOutput:
        """The output of the step that asked.

        Raises:
            ValueError: the answer is an error.
        """
        if self.result is None:
            raise ValueError("an error has no output")
        if self.result.vectors is not None:
            return SlmEmbedOutput(vectors=self.result.vectors, model=self.metrics.model)
        usage = SlmUsage(
            prompt_tokens=self.metrics.prompt_tokens,
            completion_tokens=self.metrics.completion_tokens,
            total_tokens=self.metrics.total_tokens,
            estimated=self.metrics.estimated,
        )
        return SlmCompleteOutput(completion=self.result.completion, model=self.metrics.model, usage=usage)


class DeadLetter(Model):
    """A message that was given up: where it came from, why, and the message itself as text.

    ``value_encoding`` is ``base64`` where the message is not UTF-8.
    """

    version: Literal["v1"] = "v1"
    topic: str
    message_id: str
    key: str
    deliveries: int
    reason: str
    value: str
    value_encoding: Literal["utf-8", "base64"] = "utf-8"

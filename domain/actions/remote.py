"""Parameters and outputs of actions that ask another part: http, postgres, memory, slm, people, capsules."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator

from somagent.domain.actions.local import Document
from somagent.domain.model import JsonObject, Model

Namespace = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]


class HttpRequestParams(Model):
    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    url: Annotated[str, Field(min_length=1, max_length=8192)]
    headers: dict[str, str] = Field(default_factory=dict)
    body: JsonValue = None


class HttpRequestOutput(Model):
    """``body`` is parsed where the answer is JSON, else text."""

    status: int
    headers: dict[str, str]
    body: JsonValue


class PostgresQueryParams(Model):
    """``connection`` is a name that the operator configured; ``parameters`` are bound as $1, $2, ..."""

    sql: Annotated[str, Field(min_length=1, max_length=100_000)]
    parameters: list[JsonValue] = Field(default_factory=list)
    connection: str = "default"


class PostgresQueryOutput(Model):
    rows: list[JsonObject]


class RememberParams(Model):
    key: Annotated[str, Field(min_length=1, max_length=400)] | None = None
    text: Annotated[str, Field(max_length=200_000)] | None = None
    value: JsonValue = None
    tags: list[str] = Field(default_factory=list, max_length=64)
    metadata: JsonObject = Field(default_factory=dict)
    namespace: Namespace | None = None

    @model_validator(mode="after")
    def _something_to_remember(self) -> Self:
        if self.text is None and self.value is None:
            raise ValueError("give `text` or `value`")
        return self


class RememberOutput(Model):
    memory_id: str
    key: str


class RememberAllParams(Model):
    """Remembers documents in pieces of about ``chunk_size`` characters, cut between paragraphs and sentences.

    Piece ``n`` (from 1) of a document has the key ``PATH#n``, so that remembering it again replaces it.
    """

    documents: Annotated[list[Document], Field(max_length=10_000)]
    namespace: Namespace | None = None
    tags: list[str] = Field(default_factory=list, max_length=64)
    chunk_size: Annotated[int, Field(ge=200, le=20_000)] = 1200


class RememberAllOutput(Model):
    """``count`` is the number of pieces; ``keys`` and ``memory_ids`` are theirs, in order."""

    count: int
    memory_ids: list[str]
    keys: list[str]


class RecallParams(Model):
    query: Annotated[str, Field(max_length=20_000)]
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    namespace: Namespace | None = None
    filters: JsonObject = Field(default_factory=dict)


class MemoryProvenance(Model):
    source: str
    namespace: str
    created_at: str
    created_by: str | None = None
    job_id: str | None = None
    step_id: str | None = None


class MemoryItem(Model):
    memory_id: str
    key: str
    text: str
    value: JsonValue = None
    score: float
    tags: list[str]
    metadata: JsonObject
    provenance: MemoryProvenance


class RecallOutput(Model):
    items: list[MemoryItem]


class RetrieveParams(Model):
    query: Annotated[str, Field(max_length=20_000)]
    limit: Annotated[int, Field(ge=1, le=50)] = 10
    namespace: Namespace | None = None


class RetrieveSource(Model):
    index: int
    memory_id: str
    key: str
    text: str
    score: float
    provenance: MemoryProvenance


class RetrieveOutput(Model):
    """``answer`` quotes the sources it rests on as [1], [2], ...; it says so where nothing fits."""

    answer: str
    sources: list[RetrieveSource]


class SlmRole(StrEnum):
    """What a model is asked to be."""

    DIALOGUE_REASONING = "dialogue_reasoning"
    TOOL_CALL_PLANNING = "tool_call_planning"
    CODE_GENERATION = "code_generation"
    EMBEDDINGS = "embeddings"
    SUMMARIZATION = "summarization"
    ASR = "asr"
    TTS = "tts"
    DEVELOPER_LIGHT = "developer_light"


class ChatMessage(Model):
    role: Literal["system", "user", "assistant", "tool"]
    content: str


class SlmCompleteParams(Model):
    """Exactly one of ``prompt`` and ``messages``."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    role: SlmRole
    prompt: Annotated[str, Field(min_length=1)] | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=8192)] = 512
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.2
    schema_: JsonObject | None = Field(default=None, alias="schema")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give exactly one of `prompt` and `messages`")
        return self


class SlmUsage(Model):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    estimated: bool = False


class SlmCompleteOutput(Model):
    """``completion`` is text, or the parsed value where a schema was given."""

    completion: JsonValue
    model: str
    usage: SlmUsage


class SlmEmbedParams(Model):
    input: Annotated[list[str], Field(min_length=1, max_length=256)]


class SlmEmbedOutput(Model):
    vectors: list[list[float]]
    model: str = ""


class PolicyEvaluateParams(Model):
    """The body of POST /v1/evaluate; tenant, user and session are the job's own where absent."""

    prompt: str
    role: str = "dialogue_reasoning"
    session_id: str | None = None
    tenant: str | None = None
    user: str | None = None
    metadata: JsonObject = Field(default_factory=dict)


class PolicyEvaluateOutput(Model):
    allowed: bool
    score: float
    threshold: float
    severity: str
    reasons: JsonObject
    decision_id: str
    cached: bool


class AnalyseBudgetParams(Model):
    run: Annotated[str, Field(min_length=1)]
    max_variance_percent: Annotated[float, Field(ge=0)] = 15.0


class AnalyseBudgetOutput(Model):
    variance_percent: float
    within: bool


class HumanApproveParams(Model):
    question: Annotated[str, Field(min_length=1, max_length=10_000)]
    quorum: Annotated[int, Field(ge=1, le=50)] = 1


class RequestApprovalParams(Model):
    question: Annotated[str, Field(min_length=1, max_length=10_000)]
    quorum: Annotated[int, Field(ge=1, le=50)] = 1
    channel: str = "web"
    severity: Literal["info", "warning", "error", "critical"] = "info"


class ApprovalOutput(Model):
    decision: str
    by: list[str]


class NotificationSendParams(Model):
    channel: str = "web"
    message: Annotated[str, Field(min_length=1, max_length=10_000)]
    severity: Literal["info", "warning", "error", "critical"] = "info"


class NotificationSendOutput(Model):
    notification_id: str
    status: str


class CapsuleRunParams(Model):
    """``version`` is exact or a range (``^1.2``, ``>=1.0.0 <2.0.0``); absent, the installed one."""

    capsule_id: Annotated[str, Field(min_length=1, max_length=128)]
    version: str | None = None
    inputs: JsonObject = Field(default_factory=dict)


class CapsuleRunOutput(Model):
    """Holds exactly the child's outputs."""

    model_config = ConfigDict(frozen=True, extra="allow")

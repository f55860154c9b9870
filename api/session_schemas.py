"""Bodies and views of sessions, as the API's reference shows them."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from somagent.domain.capsules.definition import CAPSULE_ID
from somagent.domain.model import JsonObject, Model
from somagent.domain.times import Timestamp

Prompt = Annotated[str, Field(min_length=1, max_length=200_000)]


class NewSessionBody(Model):
    """``metadata.region``, where given, is where the session must be worked on."""

    prompt: Prompt
    capsule_id: Annotated[str, Field(pattern=CAPSULE_ID)] | None = None
    metadata: JsonObject = Field(default_factory=dict)


class TurnJob(Model):
    """A job that the turn starts."""

    capsule_id: Annotated[str, Field(min_length=1, max_length=128)]
    version: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    inputs: JsonObject = Field(default_factory=dict)
    environment: Annotated[str, Field(min_length=1, max_length=64)] = "prod"
    budget_tokens: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None


class NewTurnBody(Model):
    """``attachments`` go to the job, where there is one; the text of those that are text goes to the model."""

    prompt: Prompt
    attachments: Annotated[list[UUID], Field(max_length=20)] = Field(default_factory=list)
    job: TurnJob | None = None


class View(BaseModel):
    """What is shown; written by Postgres itself, so this describes it."""

    model_config = ConfigDict(frozen=True)


class ModerationView(View):
    """Strikes of the last 24 hours, and what was found in this prompt."""

    strike_count: int
    flagged_terms: list[str]
    reasons: list[str]
    bypassed: bool


class PolicyView(View):
    """The verdict that let it in, with its features."""

    allowed: bool
    score: float
    reasons: JsonObject
    decision_id: str | None = None


class StartedSession(View):
    """A session that was let in. Its first turn is answered right after; GET shows the answer."""

    session_id: UUID
    workflow_id: str
    status: Literal["active"]
    moderation: ModerationView
    policy: PolicyView


class UsageView(View):
    """``estimated``: no server counted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    estimated: bool = False


class RecalledView(View):
    """A memory that the answer could rest on."""

    memory_id: UUID
    key: str
    namespace: str
    source: str
    score: float


class TurnError(View):
    code: str
    detail: str


class TurnView(View):
    """One prompt and what came of it."""

    session_id: UUID
    seq: int
    prompt: str
    status: Literal["queued", "running", "completed", "failed", "cancelled"]
    answer: str | None
    model: str | None
    usage: UsageView | None
    recalled: list[RecalledView]
    error: TurnError | None
    request_id: str | None
    job_id: UUID | None
    policy: PolicyView | None
    created_at: Timestamp
    finished_at: Timestamp | None


class SessionSummary(View):
    session_id: UUID
    workflow_id: str
    status: Literal["active", "ended", "killed"]
    user_id: str
    capsule_id: str | None
    metadata: JsonObject
    moderation: ModerationView
    policy: PolicyView
    turn_count: int
    temporal_ui_url: str
    created_at: Timestamp
    last_turn_at: Timestamp
    ended_at: Timestamp | None
    end_reason: str | None


class SessionView(SessionSummary):
    """A session with its latest 200 turns, oldest first."""

    turns: list[TurnView]


class SessionList(View):
    items: list[SessionSummary]
    next_cursor: str | None

"""Model profiles: which models answer which roles, in which order, and within which bounds."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, model_validator

from somagent.domain.actions.remote import SlmRole
from somagent.domain.model import Model

ROLE_OF_FIELD: Final = {
    "chat": SlmRole.DIALOGUE_REASONING,
    "planning": SlmRole.TOOL_CALL_PLANNING,
    "code": SlmRole.CODE_GENERATION,
    "embedding": SlmRole.EMBEDDINGS,
    "speech_recognition": SlmRole.ASR,
    "speech_synthesis": SlmRole.TTS,
}
"""A profile's own fields; ``roles`` gives the rest by the role's own name."""

ModelName = Annotated[str, Field(pattern=r"^\S(?:[^\x00-\x1f\x7f]{0,198}\S)?$", description="As its provider calls it")]


class Parameters(Model):
    """What a model is asked with, where the request itself says nothing."""

    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=8192)] | None = None


class Constraints(Model):
    """What a model must keep to be chosen.

    Attributes:
        max_cost: a thousand tokens may cost at most this, in the currency of the ledger.
        max_latency_ms: its usual answer takes at most this.
        min_quality: by the benchmarks, 0 to 1.
    """

    max_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    max_latency_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    min_quality: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None


class RoleModels(Model):
    """The models of one role. A text alone is the primary model."""

    model: ModelName
    fallbacks: Annotated[list[ModelName], Field(max_length=8, description="In the order they are tried")] = Field(
        default_factory=list
    )
    parameters: Parameters = Parameters()
    constraints: Constraints = Constraints()

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len({self.model, *self.fallbacks}) != 1 + len(self.fallbacks):
            raise ValueError("a model stands once, as primary or as a fallback")
        return self

    @property
    def in_order(self) -> tuple[str, ...]:
        """Primary first."""
        return (self.model, *self.fallbacks)


def _model_alone(given: Any) -> Any:
    return {"model": given} if isinstance(given, str) else given


Choice = Annotated[RoleModels, BeforeValidator(_model_alone, json_schema_input_type=str | RoleModels)]


class ProfileModels(Model):
    """The models of a profile, by field or by role."""

    chat: Choice | None = Field(default=None, description="Role `dialogue_reasoning`")
    planning: Choice | None = Field(default=None, description="Role `tool_call_planning`")
    code: Choice | None = Field(default=None, description="Role `code_generation`")
    embedding: Choice | None = Field(default=None, description="Role `embeddings`")
    speech_recognition: Choice | None = Field(default=None, description="Role `asr`")
    speech_synthesis: Choice | None = Field(default=None, description="Role `tts`")
    roles: dict[SlmRole, Choice] = Field(default_factory=dict, description="Further roles by their own names")

    @model_validator(mode="after")
    def _each_role_once(self) -> Self:
        twice = [
            field for field, role in ROLE_OF_FIELD.items() if getattr(self, field) is not None and role in self.roles
        ]
        if twice:
            raise ValueError(f"given twice, by field and among the roles: {', '.join(twice)}")
        if not self.by_role:
            raise ValueError("name a model for at least one role")
        return self

    @property
    def by_role(self) -> dict[SlmRole, RoleModels]:
        """What the profile says, by role; a role that is absent is left to the deployment."""
        fields = {role: getattr(self, field) for field, role in ROLE_OF_FIELD.items()}
        return {role: models for role, models in {**fields, **self.roles}.items() if models is not None}

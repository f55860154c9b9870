"""The provider that needs no weights: it quotes, plans from templates and hashes, and says so in ``model``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue, TypeAdapter, ValidationError

from somagent.adapters.slm.port import Completion, Embeddings
from somagent.domain.actions.remote import SlmRole, SlmUsage
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.slm.answer import NO_MATERIAL, answer
from somagent.domain.slm.default_templates import DEFAULT_TEMPLATES
from somagent.domain.slm.embedding import embed_all
from somagent.domain.slm.material import Material, material_of
from somagent.domain.slm.messages import SlmRequest
from somagent.domain.slm.plans import Plan, PlanTemplate, plan_for
from somagent.domain.slm.schemas import check_schema, faults_of
from somagent.domain.slm.structured import fill
from somagent.domain.slm.summary import summarise
from somagent.domain.slm.tokens import estimate_messages, estimate_tokens

EXTRACTIVE: Final = "builtin/extractive-1"
PLANNER: Final = "builtin/template-planner-1"
HASHING: Final = "builtin/hashing-384"

_SPEECH: Final = frozenset((SlmRole.ASR, SlmRole.TTS))
_TEMPLATES: Final = TypeAdapter(list[PlanTemplate])


class BuiltinProvider:
    """Answers every role that text alone can answer, the same way each time, without any network.

    Args:
        templates: what ``tool_call_planning`` may plan. A request brings its own as ``metadata.plan_templates``.
    """

    name = "builtin"

    def __init__(self, templates: Sequence[PlanTemplate] = DEFAULT_TEMPLATES) -> None:
        self._templates = tuple(templates)

    async def complete(self, request: SlmRequest) -> Completion:
        """Answers by role: summaries and extracts of the prompt's text, or a plan. Runs in a thread of its own.

        Raises:
            SomaError: ADAPTER_NOT_CONFIGURED for speech; SLM_FAILED, not retryable, for code; SLM_INVALID_OUTPUT where
                the text does not hold what the schema requires; PARAMS_INVALID for an unusable schema.
        """
        return await asyncio.to_thread(self._complete, request)

    async def embed(self, request: SlmRequest) -> Embeddings:
        """Hashing embeddings of dimension 384."""
        texts = request.input or []
        vectors = await asyncio.to_thread(embed_all, texts)
        tokens = sum(map(estimate_tokens, texts))
        return Embeddings(vectors, HASHING, _usage(tokens, 0))

    async def close(self) -> None:
        """Nothing is open."""

    def _complete(self, request: SlmRequest) -> Completion:
        _refuse_what_needs_a_model(request.role)
        value, model = self._plan(request) if request.role is SlmRole.TOOL_CALL_PLANNING else _extract(request)
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        usage = _usage(estimate_messages(request.conversation()), estimate_tokens(text))
        return Completion(value, model, usage)

    def _plan(self, request: SlmRequest) -> tuple[JsonValue, str]:
        schema = request.parameters.schema_
        if schema is not None:
            check_schema(schema)
        material = material_of(request.conversation(), by_sentence=False)
        intent = material.body or material.question
        plan = plan_for(intent, self._templates_of(request), _most_deliverables(schema))
        if plan is None:
            raise SomaError(
                Code.SLM_INVALID_OUTPUT,
                "The built-in planner only plans from templates and lists, and neither fits: no template's keywords "
                "stand in the intent. List the deliverables in the intent, add a template, or set SLM_BASE_URL to a "
                "model server.",
                retryable=False,
            )
        return (_plan_text(plan) if schema is None else _plan_value(plan, schema)), PLANNER

    def _templates_of(self, request: SlmRequest) -> Sequence[PlanTemplate]:
        given = (request.metadata.model_extra or {}).get("plan_templates")
        if given is None:
            return self._templates
        try:
            return _TEMPLATES.validate_python(given)
        except ValidationError as error:
            detail = f"metadata.plan_templates is no list of plan templates: {error.error_count()} fault(s)"
            raise SomaError(Code.PARAMS_INVALID, detail) from error


def _extract(request: SlmRequest) -> tuple[JsonValue, str]:
    material = material_of(request.conversation())
    limit = request.parameters.max_tokens
    if request.parameters.schema_ is not None:
        return fill(request.parameters.schema_, _with_text(material), limit), EXTRACTIVE
    if request.role is SlmRole.SUMMARIZATION:
        return (summarise(material.body, limit).text or NO_MATERIAL), EXTRACTIVE
    return answer(material, limit), EXTRACTIVE


def _with_text(material: Material) -> Material:
    """A schema is filled from the whole prompt where it has no part that is plainly text."""
    return material if material.body.strip() else Material(material.question, material.question)


def _refuse_what_needs_a_model(role: SlmRole) -> None:
    if role in _SPEECH:
        raise SomaError(
            Code.ADAPTER_NOT_CONFIGURED,
            f"Role {role} needs a speech model, and none is configured: the built-in provider handles text only. "
            "Set SLM_BASE_URL to a server that has one.",
        )
    if role is SlmRole.CODE_GENERATION:
        raise SomaError(
            Code.SLM_FAILED,
            "The built-in provider cannot write code: it only quotes text and plans from templates. Set SLM_BASE_URL "
            "and SLM_MODEL to an OpenAI-compatible server with a code model (Ollama, vLLM, llama.cpp).",
            retryable=False,
        )


def _plan_text(plan: Plan) -> str:
    return json.dumps(_shown(plan), ensure_ascii=False, indent=2)


def _plan_value(plan: Plan, schema: JsonObject) -> JsonValue:
    """The plan in the first of its forms that meets the schema: whole, deliverables alone, the bare list."""
    whole = _shown(plan)
    deliverables = whole["deliverables"]
    forms: list[JsonValue] = [whole, {"deliverables": deliverables}, deliverables]
    for form in forms:
        if not faults_of(form, schema):
            return form
    faults = faults_of(forms[1], schema)
    raise SomaError(
        Code.SLM_INVALID_OUTPUT,
        "The built-in planner's plan, {deliverables: [{id, persona, goal, tools, budget_tokens, dependencies}]}, does "
        f"not meet the schema: {faults[0].path}: {faults[0].detail}. Allow this form, or set SLM_BASE_URL.",
        errors=faults,
        retryable=False,
    )


def _shown(plan: Plan) -> JsonObject:
    shown: JsonObject = plan.model_dump(mode="json", exclude_none=True)
    return shown


def _most_deliverables(schema: JsonObject | None) -> int | None:
    if schema is None:
        return None
    properties = schema.get("properties")
    items = properties.get("deliverables") if isinstance(properties, dict) else schema
    most = items.get("maxItems") if isinstance(items, dict) else None
    return most if isinstance(most, int) else None


def _usage(prompt_tokens: int, completion_tokens: int) -> SlmUsage:
    total = prompt_tokens + completion_tokens
    return SlmUsage(
        prompt_tokens=prompt_tokens, completion_tokens=completion_tokens, total_tokens=total, estimated=True
    )

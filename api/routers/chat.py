"""OpenAI-compatible chat: the same gate, queue and budgets as everything else."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Iterable
from typing import Annotated
from uuid import uuid4

from fastapi import Depends, Request
from starlette.responses import Response, StreamingResponse

from somagent.api.chat_answers import chunks_of, completion_of
from somagent.api.chat_schemas import ChatBody, ChatCompletion, ModelEntries, ModelEntry
from somagent.api.deps import Caller, StateDep, json_response, request_id, requires, soma_router, traceparent
from somagent.api.gateway import admit, governed
from somagent.api.state import State
from somagent.domain.errors import SomaError
from somagent.domain.model import JsonObject
from somagent.domain.slm.messages import SlmParameters, SlmResponse
from somagent.services.admission import Approach, Passage
from somagent.services.audit.intake import by, take_in
from somagent.services.slm.asking import Question
from somagent.services.slm.names import chat_models, chat_role
from somagent.services.slm.requests import worst_case

router = soma_router("orchestrator")

Invoker = Annotated[Caller, Depends(governed("slm:invoke"))]
Reader = Annotated[Caller, Depends(requires("slm:invoke"))]


@router.get("/v1/models")
async def models(state: StateDep, caller: Reader) -> ModelEntries:
    """What `model` may name, in OpenAI's shape: `auto`, the roles, and the models that the operator configured."""
    return ModelEntries(data=[ModelEntry(id=name) for name in chat_models(state.settings)])


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def chat_completions(request: Request, state: StateDep, caller: Invoker, body: ChatBody) -> Response:
    """Answer a conversation, as OpenAI's clients ask for it.

    The newest user message passes moderation and policy. With `stream` the answer comes in chunks that are made when
    the whole answer is there. Errors are problems, with the member `error` that OpenAI's clients read.
    """
    try:
        question = _question(request, state, caller, body)
        passage = await admit(request, caller, _approach(body, question))
        response = await state.asking.ask(question)
    except SomaError as error:
        if not error.retryable:  # OpenAI's clients repeat a 409 by themselves, unless they are told otherwise
            request.scope["soma.headers"].append((b"x-should-retry", b"false"))
        raise
    await _audit(request, state, caller, body, passage, response)
    answer = completion_of(body, response, int(time.time()))
    if not body.stream:
        return json_response(answer)
    usage = body.stream_options is not None and body.stream_options.include_usage
    return StreamingResponse(
        _streamed(chunks_of(answer, include_usage=usage)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _question(request: Request, state: State, caller: Caller, body: ChatBody) -> Question:
    metadata: JsonObject = {"traceparent": traceparent(request)}
    if body.user is not None:
        metadata["end_user"] = body.user
    wanted: JsonObject = {"max_tokens": body.most_tokens}
    if body.response_format is not None:
        wanted["schema"] = body.response_format.wanted
    if body.temperature is not None:
        wanted["temperature"] = body.temperature
    return Question(
        tenant_id=caller.tenant_id,
        user_id=caller.user_id,
        role=chat_role(state.settings, body.model),
        messages=[message.to_message() for message in body.messages],
        parameters=SlmParameters.model_validate(wanted),
        request_id=str(uuid4()),
        metadata=metadata,
    )


def _approach(body: ChatBody, question: Question) -> Approach:
    return Approach(
        prompt=body.said_now,
        source="chat",
        action="chat.completions",
        about=f"chat:{question.request_id}",
        tokens=worst_case(question.to_request()),
        role=question.role.value,
    )


async def _streamed(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def _audit(
    request: Request, state: State, caller: Caller, body: ChatBody, passage: Passage, response: SlmResponse
) -> None:
    detail: JsonObject = {
        "model": response.metrics.model,
        "total_tokens": response.metrics.total_tokens,
        "prompt_sha256": hashlib.sha256(body.said_now.encode()).hexdigest(),
        "decision_id": passage.policy_view.get("decision_id"),
    }
    happening = by(
        caller, "chat.completed", f"chat:{response.request_id}", topic="gateway.audit", detail=detail,
        request_id=request_id(request),
    )  # fmt: skip
    async with state.app_db.connection(caller.tenant_id) as connection:
        await take_in(connection, happening)

"""Any server that speaks OpenAI's HTTP interface: vLLM, Ollama, llama.cpp, OpenAI itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from openai import AsyncOpenAI, BadRequestError, OpenAIError, UnprocessableEntityError
from pydantic import JsonValue

from somagent.adapters.slm.openai_answers import ChatAnswer, EmbeddingAnswer, ModelList, usage_of
from somagent.adapters.slm.openai_errors import MAX_ANSWER_BYTES, AnswerTooLarge, error_from
from somagent.adapters.slm.port import Completion, Embeddings
from somagent.adapters.slm.structured_output import read_value, repair_instruction, schema_instruction
from somagent.domain.actions.remote import ChatMessage, SlmRole, SlmUsage
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.slm.messages import SlmRequest
from somagent.domain.slm.schemas import check_schema

_CONNECT_SECONDS: Final = 10.0
# What some servers do not take: the word in their complaint, and the parameter it is about.
_OPTIONAL: Final = ("response_format", "max_tokens", "temperature")


class OpenAICompatibleProvider:
    """Asks one server. It never repeats a call by itself: the consumer does, and the step's own retries.

    Args:
        base_url: ends in the version, as in ``http://127.0.0.1:11434/v1``.
        api_key: sent as bearer token; empty for servers without one.
        model: for completions; empty, the first that the server lists.
        embedding_model: for embeddings.
        timeout_seconds: for one whole answer, connection included.
    """

    def __init__(
        self, *, base_url: str, api_key: str, model: str, embedding_model: str, timeout_seconds: float
    ) -> None:
        self._server = _without_credentials(base_url)
        self._model = model
        self._embedding_model = embedding_model
        self._timeout = timeout_seconds
        self._refused: set[str] = set()
        limits = httpx2.Timeout(timeout_seconds, connect=min(_CONNECT_SECONDS, timeout_seconds))
        http = httpx2.AsyncClient(timeout=limits, event_hooks={"response": [_cap]})
        self._client = AsyncOpenAI(
            base_url=base_url,
            api_key=api_key or "none",
            max_retries=0,
            http_client=http,
            default_headers={"Accept-Encoding": "identity"},
        )

    @property
    def name(self) -> str:
        """``openai-compatible``."""
        return "openai-compatible"

    async def complete(self, request: SlmRequest) -> Completion:
        """Asks for a completion; with a schema, checks the answer and asks once more where it has faults.

        Raises:
            SomaError: RATE_LIMITED, SLM_UNAVAILABLE, SLM_TIMED_OUT, SLM_FAILED, RESPONSE_TOO_LARGE, PROMPT_TOO_LONG,
                ADAPTER_NOT_CONFIGURED, SLM_INVALID_OUTPUT, PARAMS_INVALID.
        """
        if request.role in (SlmRole.ASR, SlmRole.TTS):
            detail = f"Role {request.role} has no adapter for audio here yet: only chat and embeddings are asked for."
            raise SomaError(Code.ADAPTER_NOT_CONFIGURED, detail)
        schema = request.parameters.schema_
        if schema is None:
            answer = await self._chat(request, request.conversation())
            return Completion(answer.text, answer.model, usage_of(answer, request.conversation()))
        check_schema(schema)
        return await self._structured(request, schema)

    async def embed(self, request: SlmRequest) -> Embeddings:
        """Asks for one vector for each input, of SLM_EMBEDDING_MODEL."""
        texts = request.input or []
        body: dict[str, JsonValue] = {"model": self._embedding_model, "input": [*texts], "encoding_format": "float"}
        answer = EmbeddingAnswer.read(await self._post("/embeddings", body), self._server, len(texts))
        return Embeddings(answer.vectors, answer.model or self._embedding_model, answer.usage(texts))

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def _structured(self, request: SlmRequest, schema: JsonObject) -> Completion:
        conversation = request.conversation()
        first = await self._chat(request, conversation)
        usage = usage_of(first, conversation)
        value, faults = read_value(first.text, schema)
        if not faults:
            return Completion(value, first.model, usage)
        again = [
            *conversation,
            ChatMessage(role="assistant", content=first.text),
            ChatMessage(role="user", content=repair_instruction(faults, schema)),
        ]
        second = await self._chat(request, again)
        value, faults = read_value(second.text, schema)
        if faults:
            where = "; ".join(f"{fault.path}: {fault.detail}" for fault in faults[:3])
            detail = f"{second.model} does not meet the JSON Schema, also after one repair: {where}"
            raise SomaError(Code.SLM_INVALID_OUTPUT, detail, errors=faults)
        return Completion(value, second.model, _together(usage, usage_of(second, again)))

    async def _chat(self, request: SlmRequest, conversation: list[ChatMessage]) -> ChatAnswer:
        model = await self._model_name()
        for _ in range(len(_OPTIONAL) + 1):
            try:
                body = self._body(model, request, conversation)
                return ChatAnswer.read(await self._post("/chat/completions", body), self._server, model)
            except SomaError as error:
                if not self._learned_from(error.__cause__):
                    raise
        raise SomaError(Code.SLM_FAILED, f"The model server {self._server} refuses every form of the request.")

    def _body(self, model: str, request: SlmRequest, conversation: list[ChatMessage]) -> dict[str, JsonValue]:
        schema, parameters = request.parameters.schema_, request.parameters
        messages: list[JsonValue] = [message.model_dump() for message in conversation]
        limit = "max_completion_tokens" if "max_tokens" in self._refused else "max_tokens"
        body: dict[str, JsonValue] = {"model": model, "messages": messages, limit: parameters.max_tokens}
        if "temperature" not in self._refused:
            body["temperature"] = parameters.temperature
        if schema is not None and "response_format" in self._refused:
            messages.insert(0, {"role": "system", "content": schema_instruction(schema)})
        elif schema is not None:
            named: JsonValue = {"name": "answer", "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return body

    def _learned_from(self, refusal: BaseException | None) -> bool:
        """Whether a refusal names a parameter that can be done without; from then on it is."""
        if not isinstance(refusal, BadRequestError | UnprocessableEntityError):
            return False
        text = refusal.response.text
        for parameter in _OPTIONAL:
            if parameter in text and parameter not in self._refused:
                self._refused.add(parameter)
                return True
        return False

    async def _model_name(self) -> str:
        if not self._model:
            listed = ModelList.read(await self._get("/models"), self._server)
            if not listed:
                detail = f"The model server {self._server} lists no model. Load one there, or set SLM_MODEL."
                raise SomaError(Code.ADAPTER_NOT_CONFIGURED, detail)
            self._model = listed[0]
        return self._model

    async def _post(self, path: str, body: dict[str, JsonValue]) -> JsonValue:
        return await self._read(self._client.post(path, cast_to=httpx2.Response, body=body))

    async def _get(self, path: str) -> JsonValue:
        return await self._read(self._client.get(path, cast_to=httpx2.Response))

    async def _read(self, call: Awaitable[httpx2.Response]) -> JsonValue:
        """The JSON of one answer, read within the time and size limits."""
        try:
            async with asyncio.timeout(self._timeout):
                response = await call
        except (OpenAIError, httpx2.HTTPError, TimeoutError, AnswerTooLarge) as error:
            raise error_from(error, self._server, self._timeout) from error
        try:
            value: JsonValue = json.loads(response.content)
        except (ValueError, RecursionError) as error:
            detail = f"The model server {self._server} sent what is no JSON. Is SLM_BASE_URL right, down to its /v1?"
            raise SomaError(Code.SLM_FAILED, detail) from error
        return value


async def _cap(response: httpx2.Response) -> None:
    response.stream = _Capped(response.stream)


class _Capped(httpx2.AsyncByteStream):
    """A body that ends with an error once it is larger than we are ready to hold."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise AnswerTooLarge
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _together(first: SlmUsage, second: SlmUsage) -> SlmUsage:
    return SlmUsage(
        prompt_tokens=first.prompt_tokens + second.prompt_tokens,
        completion_tokens=first.completion_tokens + second.completion_tokens,
        total_tokens=first.total_tokens + second.total_tokens,
        estimated=first.estimated or second.estimated,
    )


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

"""The OpenAI-compatible provider against a real HTTP server that misbehaves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from somagent.adapters.slm.openai_compatible import OpenAICompatibleProvider
from somagent.domain.actions.remote import SlmRole
from somagent.domain.errors import Code, SomaError
from somagent.tests.slm.asking import asked, to_embed
from somagent.tests.slm.model_server import ModelServer, chat

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}


def provider_at(base_url: str, *, timeout_seconds: float = 5.0, model: str = "tiny-1") -> OpenAICompatibleProvider:
    return OpenAICompatibleProvider(
        base_url=base_url,
        api_key="sk-secret-key",
        model=model,
        embedding_model="tiny-embed",
        timeout_seconds=timeout_seconds,
    )


@pytest.fixture
async def provider(model_server: ModelServer) -> AsyncIterator[OpenAICompatibleProvider]:
    opened = provider_at(model_server.base_url)
    yield opened
    await opened.close()


async def refusal(provider: OpenAICompatibleProvider, **more: Any) -> SomaError:
    with pytest.raises(SomaError) as raised:
        await provider.complete(asked("Hello", SlmRole.DIALOGUE_REASONING, **more))
    assert "sk-secret-key" not in str(raised.value)
    return raised.value


async def test_answer_with_the_servers_count(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    model_server.answers(chat("Hi."))
    answer = await provider.complete(asked("Hello", max_tokens=33, temperature=0.5))
    assert (answer.value, answer.model) == ("Hi.", "tiny-1")
    assert answer.usage.model_dump() == {
        "prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, "estimated": False
    }  # fmt: skip
    (request,) = model_server.requests()
    assert request["path"] == "/v1/chat/completions"
    assert request["authorization"] == "Bearer sk-secret-key"
    assert request["body"] == {
        "model": "tiny-1", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 33, "temperature": 0.5
    }  # fmt: skip


async def test_count_is_estimated_where_the_server_gives_none(
    model_server: ModelServer, provider: OpenAICompatibleProvider
) -> None:
    model_server.answers(chat("Two words.", usage=None))
    answer = await provider.complete(asked("Hello"))
    assert answer.usage.estimated
    assert answer.usage.completion_tokens == 3


async def test_first_listed_model_where_none_is_named(model_server: ModelServer) -> None:
    opened = provider_at(model_server.base_url, model="")
    model_server.answers({"body": json.dumps({"data": [{"id": "listed-1"}, {"id": "listed-2"}]})}, chat("Hi."))
    await opened.complete(asked("Hello"))
    assert model_server.requests()[1]["body"]["model"] == "listed-1"
    await opened.close()


async def test_rate_limit_in_seconds(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    model_server.answers(
        {"status": 429, "headers": {"Retry-After": "7"}, "body": '{"error": {"message": "slow down"}}'}
    )
    error = await refusal(provider)
    assert (error.code, error.retryable, error.retry_after) == (Code.RATE_LIMITED, True, 7.0)
    assert "slow down" in error.detail
    assert len(model_server.requests()) == 1


async def test_rate_limit_as_date(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    model_server.answers({"status": 429, "headers": {"Retry-After": until}})
    error = await refusal(provider)
    assert error.retry_after is not None
    assert 60 < error.retry_after <= 91


async def test_failing_server_may_be_asked_again(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    model_server.answers({"status": 500, "body": "<html>oops</html>"})
    error = await refusal(provider)
    assert (error.code, error.retryable) == (Code.SLM_UNAVAILABLE, True)


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, "{}", Code.ADAPTER_NOT_CONFIGURED),
        (404, "{}", Code.ADAPTER_NOT_CONFIGURED),
        (400, '{"error": {"message": "maximum context length is 4096 tokens"}}', Code.PROMPT_TOO_LONG),
        (413, "{}", Code.PROMPT_TOO_LONG),
        (400, '{"error": {"message": "no"}}', Code.SLM_FAILED),
    ],
)
async def test_refusals_that_last(
    model_server: ModelServer, provider: OpenAICompatibleProvider, status: int, body: str, code: Code
) -> None:
    model_server.answers({"status": status, "body": body})
    error = await refusal(provider)
    assert (error.code, error.retryable) == (code, False)


@pytest.mark.parametrize("act", [{"sleep": 3}, {"drip": 3}])
async def test_late_answers_time_out(model_server: ModelServer, act: dict[str, float]) -> None:
    opened = provider_at(model_server.base_url, timeout_seconds=0.5)
    model_server.answers(act)
    error = await refusal(opened)
    assert (error.code, error.retryable) == (Code.SLM_TIMED_OUT, True)
    await opened.close()


async def test_nobody_listens() -> None:
    opened = provider_at("http://user:hidden@127.0.0.1:9/v1")
    error = await refusal(opened)
    assert (error.code, error.retryable) == (Code.SLM_UNAVAILABLE, True)
    assert "hidden" not in error.detail
    await opened.close()


async def test_cut_answer(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    model_server.answers({"cut": True, "body": '{"choices": [{"mess'})
    error = await refusal(provider)
    assert (error.code, error.retryable) == (Code.SLM_UNAVAILABLE, True)


@pytest.mark.parametrize("body", ["{not json", '{"choices": "none"}', '{"choices": []}', "[" * 100_000])
async def test_what_is_no_answer(model_server: ModelServer, provider: OpenAICompatibleProvider, body: str) -> None:
    model_server.answers({"body": body})
    error = await refusal(provider)
    assert (error.code, error.retryable) == (Code.SLM_FAILED, True)


async def test_empty_answer(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    model_server.answers(chat(None))
    assert (await refusal(provider)).code is Code.SLM_FAILED


@pytest.mark.parametrize("status", [200, 500])
async def test_answer_of_more_than_ten_megabytes(
    model_server: ModelServer, provider: OpenAICompatibleProvider, status: int
) -> None:
    model_server.answers({"bytes": 11 * 2**20, "status": status})
    error = await refusal(provider)
    assert (error.code, error.retryable) == (Code.RESPONSE_TOO_LARGE, False)


async def test_structured_answer(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    model_server.answers(chat('```json\n{"city": "Ulm", "people": 128928}\n```'))
    answer = await provider.complete(asked("Which city?", schema=SCHEMA))
    assert answer.value == {"city": "Ulm", "people": 128928}
    (request,) = model_server.requests()
    assert request["body"]["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_repaired_once(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    model_server.answers(chat('{"city": "Ulm", "people": "many"}'), chat('{"city": "Ulm", "people": 128928}'))
    answer = await provider.complete(asked("Which city?", schema=SCHEMA))
    assert answer.value == {"city": "Ulm", "people": 128928}
    assert answer.usage.total_tokens == 36
    repair = model_server.requests()[1]["body"]["messages"]
    assert [message["role"] for message in repair] == ["user", "assistant", "user"]
    assert "$.people: 'many' is not of type 'integer'" in repair[2]["content"]


async def test_not_repaired_twice(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    model_server.answers(chat("Ulm, I think."))
    error = await refusal(provider, schema=SCHEMA)
    assert error.code is Code.SLM_INVALID_OUTPUT
    assert [fault.code for fault in error.errors] == ["not_json"]
    assert len(model_server.requests()) == 2


async def test_server_without_response_format(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    refused = {"status": 400, "body": '{"error": {"message": "response_format is not supported"}}'}
    model_server.answers(refused, chat('{"city": "Ulm", "people": 1}'))
    answer = await provider.complete(asked("Which city?", schema=SCHEMA))
    assert answer.value == {"city": "Ulm", "people": 1}
    second = model_server.requests()[1]["body"]
    assert "response_format" not in second
    assert "JSON Schema" in second["messages"][0]["content"]


async def test_server_that_renamed_max_tokens(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    refused = {"status": 400, "body": '{"error": {"message": "Use max_completion_tokens instead of max_tokens."}}'}
    model_server.answers(refused, chat("Hi."))
    await provider.complete(asked("Hello", max_tokens=5))
    assert model_server.requests()[1]["body"]["max_completion_tokens"] == 5


async def test_unusable_schema_asks_nobody(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    model_server.answers(chat("{}"))
    for schema in ({"type": "nonsense"}, {"$ref": "http://127.0.0.1:9/x"}, {"pattern": "(a+)+$", "type": "string"}):
        assert (await refusal(provider, schema=schema)).code is Code.PARAMS_INVALID
    assert model_server.requests() == []


async def test_embeddings_in_the_inputs_order(model_server: ModelServer, provider: OpenAICompatibleProvider) -> None:
    data = [{"index": 1, "embedding": [0.0, 1.0]}, {"index": 0, "embedding": [1.0, 0.0]}]
    model_server.answers({"body": json.dumps({"model": "e", "data": data, "usage": {"prompt_tokens": 4}})})
    answer = await provider.embed(to_embed("a", "b"))
    assert answer.vectors == [[1.0, 0.0], [0.0, 1.0]]
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.estimated) == ("e", 4, False)


@pytest.mark.parametrize(
    ("vectors", "code"),
    [([[1.0]], Code.SLM_FAILED), ([[1.0], [1.0, 2.0]], Code.EMBEDDING_DIMENSION_MISMATCH), ([[], []], Code.SLM_FAILED)],
)
async def test_unusable_embeddings(
    model_server: ModelServer, provider: OpenAICompatibleProvider, vectors: list[list[float]], code: Code
) -> None:
    data = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    model_server.answers({"body": json.dumps({"data": data})})
    with pytest.raises(SomaError) as raised:
        await provider.embed(to_embed("a", "b"))
    assert raised.value.code is code

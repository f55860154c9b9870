"""Chat with OpenAI's own client, against the built-in model and a model server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, ConflictError, PermissionDeniedError, UnprocessableEntityError

from somagent.deploy.local.ports import free_port
from somagent.tests.capsules.platform import Addresses, until
from somagent.tests.sessions.world import Person, World, world
from somagent.tests.slm.model_server import ModelServer, chat
from somagent.tests.slm.redis_server import RedisServer

TEXT = (
    "The harbour light was built in 1874. It was painted red in 1901. Its keeper lived beside it.\n\n"
    "When was the harbour light built?"
)


def client_of(world: World, person: Person) -> AsyncOpenAI:
    """OpenAI's client, as anybody would make it."""
    return AsyncOpenAI(base_url=f"{world.url}/v1", api_key=person.token)


@pytest.fixture
async def openai(sessions: World, ann: Person) -> AsyncIterator[AsyncOpenAI]:
    """Ann's client."""
    async with client_of(sessions, ann) as client:
        yield client


async def test_the_models_that_may_be_named(openai: AsyncOpenAI) -> None:
    names = [model.id async for model in openai.models.list()]
    assert {"auto", "dialogue_reasoning", "summarization", "builtin/extractive-1"} <= set(names)
    assert "embeddings" not in names


@pytest.mark.parametrize("model", ["auto", "dialogue_reasoning", "builtin/extractive-1"])
async def test_an_answer_with_its_usage(openai: AsyncOpenAI, model: str) -> None:
    answer = await openai.chat.completions.create(model=model, messages=[{"role": "user", "content": TEXT}], seed=7)
    assert "1874" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "builtin/extractive-1"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_a_stream_gives_the_same_answer_in_chunks(openai: AsyncOpenAI) -> None:
    asked: Any = {"model": "auto", "messages": [{"role": "user", "content": TEXT}]}
    whole = await openai.chat.completions.create(**asked)
    stream = await openai.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_stream_ends_as_openais_do(sessions: World, ann: Person) -> None:
    body = {"messages": [{"role": "user", "content": TEXT}], "stream": True}
    answer = await ann.http.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-policy-decision"] == "allow"
    assert answer.text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in answer.text


async def test_a_schema_is_kept_to(openai: AsyncOpenAI) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"year": {"type": "integer"}},
        "required": ["year"],
    }
    answer = await openai.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "year: 1874\n\nWhat year was the harbour light built?"}],
        response_format={"type": "json_schema", "json_schema": {"name": "built", "schema": schema}},
    )
    assert answer.choices[0].message.content == '{"year":1874}'


async def test_the_gate_stands_before_chat(sessions: World, ann: Person, openai: AsyncOpenAI) -> None:
    with pytest.raises(PermissionDeniedError) as refused:
        await openai.chat.completions.create(
            model="auto",
            messages=[
                {"role": "user", "content": "Good morning"},
                {"role": "assistant", "content": "Good morning"},
                {"role": "user", "content": [{"type": "text", "text": "Write an exploit for this and build a bomb"}]},
            ],
        )
    assert refused.value.code == "moderation_refused"
    assert refused.value.response.headers["x-policy-decision"] == "refuse"
    without = await sessions.person(ann.tenant, "bob", "session:start")
    answer = await without.http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Hi"}]})
    assert (answer.status_code, answer.json()["code"]) == (403, "capability_missing")


async def test_over_the_days_budget_nothing_is_asked(sessions: World, ann: Person, openai: AsyncOpenAI) -> None:
    await sessions.sql("UPDATE tenants SET daily_tokens = 300 WHERE id = $1", ann.tenant)
    with pytest.raises(ConflictError) as refused:
        await openai.chat.completions.create(model="auto", messages=[{"role": "user", "content": TEXT}])
    assert refused.value.code == "budget_exhausted"
    assert "max_tokens" in str(refused.value)
    rows = await sessions.sql("SELECT count(*) FROM slm_requests WHERE tenant_id = $1", ann.tenant)
    assert rows[0]["count"] == 0
    answer = await openai.chat.completions.create(
        model="auto", max_tokens=100, messages=[{"role": "user", "content": TEXT}]
    )
    assert answer.choices
    budget = (await sessions.sql("SELECT * FROM daily_budgets WHERE tenant_id = $1", ann.tenant))[0]
    assert answer.usage is not None
    assert (budget["spent_tokens"], budget["reserved_tokens"]) == (answer.usage.total_tokens, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "gpt-unknown"},
        {"n": 2},
        {"max_tokens": 0},
        {"messages": []},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]},
    ],
)
async def test_what_cannot_be_answered_is_said(openai: AsyncOpenAI, wrong: dict[str, Any]) -> None:
    asked: Any = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **wrong}
    with pytest.raises(UnprocessableEntityError) as refused:
        await openai.chat.completions.create(**asked)
    assert refused.value.code in ("unknown_role", "validation_failed")


async def test_chat_is_audited_without_its_words(sessions: World, ann: Person, openai: AsyncOpenAI) -> None:
    await openai.chat.completions.create(model="auto", messages=[{"role": "user", "content": TEXT}])

    async def audited() -> list[Any]:
        found: list[Any] = (await ann.http.get("/v1/audit", params={"action": "chat.completed"})).json()["items"]
        return found

    entry = (await until(audited))[0]
    assert entry["detail"]["model"] == "builtin/extractive-1"
    assert "harbour" not in str(entry)


async def test_without_the_queue_nothing_is_reserved(served: World) -> None:
    person = await served.person()
    served.redis.kill()
    answer = await person.http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Hi"}]})
    assert (answer.status_code, answer.json()["code"]) == (503, "redis_unavailable"), answer.text
    budget = (await served.sql("SELECT * FROM daily_budgets WHERE tenant_id = $1", person.tenant))[0]
    assert (budget["spent_tokens"], budget["reserved_tokens"]) == (0, 0)
    started = await person.start("Good morning")  # a session is taken, and answered when the queue is back
    assert started["status"] == "active"


@pytest.fixture
async def served(
    tmp_path: Path, addresses: Addresses, temporal_address: str, model_server: ModelServer
) -> AsyncIterator[World]:
    """A world whose models are a server's."""
    redis = RedisServer(free_port())
    redis.start()
    try:
        async with world(
            tmp_path / "world", addresses, temporal_address, redis,
            roles=("slm",), SLM_BASE_URL=model_server.base_url, SLM_MODEL="tiny-1",
        ) as running:  # fmt: skip
            yield running
    finally:
        redis.remove()


async def test_a_model_server_answers_and_fails_through_the_queue(served: World, model_server: ModelServer) -> None:
    person = await served.person()
    model_server.answers(chat("Twenty-six."))
    async with client_of(served, person) as client:
        answer = await client.chat.completions.create(
            model="tiny-1",
            messages=[{"role": "system", "content": "Be short."}, {"role": "user", "content": "How many letters?"}],
            max_tokens=7,
        )
        assert answer.choices[0].message.content == "Twenty-six."
        assert (answer.model, answer.choices[0].finish_reason) == ("tiny-1", "length")
        assert answer.usage is not None
        assert answer.usage.total_tokens == 18
        asked = (await asyncio.to_thread(model_server.requests))[0]["body"]
        assert [message["role"] for message in asked["messages"]] == ["system", "user"]
        model_server.answers({"status": 400, "body": '{"error": {"message": "no"}}'})
        with pytest.raises(APIStatusError) as failed:
            await client.with_options(max_retries=0).chat.completions.create(
                model="tiny-1", messages=[{"role": "user", "content": "How many letters?"}]
            )
        assert failed.value.code in ("slm_failed", "params_invalid", "prompt_too_long")
    budget = (await served.sql("SELECT * FROM daily_budgets WHERE tenant_id = $1", person.tenant))[0]
    assert (budget["spent_tokens"], budget["reserved_tokens"]) == (18, 0)

"""The built-in provider by role, and which provider the settings choose."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from somagent.adapters.settings import Settings
from somagent.adapters.slm.builtin import EXTRACTIVE, HASHING, PLANNER, BuiltinProvider
from somagent.adapters.slm.openai_compatible import OpenAICompatibleProvider
from somagent.adapters.slm.registry import providers_from
from somagent.domain.actions.remote import SlmRole
from somagent.domain.errors import Code, SomaError
from somagent.domain.slm.answer import NO_MATERIAL, NOTHING_RELATED
from somagent.domain.slm.messages import SlmRequest, SlmResponse
from somagent.tests.slm.asking import asked, to_embed

TEXT = "Lunch is at noon in the canteen. Parking costs 3 euros. The office closes at six. Bikes park for free."
DELIVERABLES = {
    "type": "object",
    "properties": {"deliverables": {"type": "array", "maxItems": 2}},
    "required": ["deliverables"],
}


async def completed(prompt: str, role: SlmRole, **more: Any) -> Any:
    answer = await BuiltinProvider().complete(asked(prompt, role, **more))
    assert answer.usage.estimated
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert "builtin/" not in json.dumps(answer.value)
    return answer


async def test_roles_that_quote() -> None:
    summary = await completed(f"Summarise:\n\n{TEXT}", SlmRole.SUMMARIZATION)
    assert summary.model == EXTRACTIVE
    assert summary.value in TEXT or all(part in TEXT for part in summary.value.split(". "))
    for role in (SlmRole.DIALOGUE_REASONING, SlmRole.DEVELOPER_LIGHT):
        said = await completed(f"{TEXT}\n\nWhen is lunch?", role)
        assert (said.value, said.model) == ("Lunch is at noon in the canteen.", EXTRACTIVE)


@pytest.mark.parametrize(
    "prompt",
    [
        "The Eiffel Tower is in Paris. The Colosseum is in Rome. Where is the Eiffel Tower?",
        "Where is the Eiffel Tower? The Eiffel Tower is in Paris. The Colosseum is in Rome.",
        "The Eiffel Tower is in Paris. Where is the Eiffel Tower? The Colosseum is in Rome.",
        "The Eiffel Tower is in Paris. The Colosseum is in Rome. Where is the Eiffel Tower? Answer in one sentence.",
        "Answer this: The Eiffel Tower is in Paris. The Colosseum is in Rome. Where is the Eiffel Tower?",
        "Of monuments.\n\nThe Eiffel Tower is in Paris. The Colosseum is in Rome. Where is the Eiffel Tower?",
    ],
)
async def test_a_message_that_brings_its_own_material(prompt: str) -> None:
    assert (await completed(prompt, SlmRole.DIALOGUE_REASONING)).value == "The Eiffel Tower is in Paris."


async def test_what_the_message_does_not_say_is_not_answered() -> None:
    told = await completed("The Eiffel Tower is in Paris. Who won the cup?", SlmRole.DIALOGUE_REASONING)
    assert told.value == NOTHING_RELATED
    for prompt in ("Hello there! What is the capital of France?", "You are a poet. What is a cat?"):
        assert (await completed(prompt, SlmRole.DIALOGUE_REASONING)).value == NO_MATERIAL


async def test_a_plan_is_made_of_the_whole_message() -> None:
    answer = await completed("We sell paper. Can you build an API for invoices?", SlmRole.TOOL_CALL_PLANNING)
    assert json.loads(answer.value)["template"] == "software_project"


async def test_summary_of_nothing() -> None:
    assert (await completed("Summarise the following:", SlmRole.SUMMARIZATION)).value == NO_MATERIAL


async def test_plan_as_text_and_as_value() -> None:
    plain = await completed("Build an API for invoices", SlmRole.TOOL_CALL_PLANNING)
    assert plain.model == PLANNER
    assert json.loads(plain.value)["template"] == "software_project"
    value = (await completed("Build an API for invoices", SlmRole.TOOL_CALL_PLANNING, schema=DELIVERABLES)).value
    assert [item["id"] for item in value["deliverables"]] == ["requirements", "architecture"]
    bare = {"type": "array", "items": {"type": "object", "required": ["id", "goal"]}}
    assert isinstance((await completed("Build an API", SlmRole.TOOL_CALL_PLANNING, schema=bare)).value, list)


async def test_plan_from_the_requests_templates() -> None:
    template = {"name": "party", "keywords": ["party"], "deliverables": [{"id": "cake", "persona": "baker"}]}
    metadata = {"plan_templates": [template]}
    answer = await completed("A party for Ada", SlmRole.TOOL_CALL_PLANNING, metadata=metadata)
    assert json.loads(answer.value)["deliverables"][0]["goal"] == "A party for Ada"
    with pytest.raises(SomaError) as raised:
        await completed("A party", SlmRole.TOOL_CALL_PLANNING, metadata={"plan_templates": [{"name": "x"}]})
    assert raised.value.code is Code.PARAMS_INVALID
    with pytest.raises(SomaError) as raised:
        await completed("A funeral", SlmRole.TOOL_CALL_PLANNING, metadata=metadata)
    assert (raised.value.code, raised.value.retryable) == (Code.SLM_INVALID_OUTPUT, False)


async def test_plan_that_the_schema_does_not_allow() -> None:
    schema = {"type": "object", "properties": {"steps": {"type": "array"}}, "required": ["steps"]}
    with pytest.raises(SomaError) as raised:
        await completed("Build an API", SlmRole.TOOL_CALL_PLANNING, schema=schema)
    assert raised.value.code is Code.SLM_INVALID_OUTPUT


@pytest.mark.parametrize(
    ("role", "code"),
    [
        (SlmRole.CODE_GENERATION, Code.SLM_FAILED),
        (SlmRole.ASR, Code.ADAPTER_NOT_CONFIGURED),
        (SlmRole.TTS, Code.ADAPTER_NOT_CONFIGURED),
    ],
)
async def test_roles_that_need_a_model(role: SlmRole, code: Code) -> None:
    with pytest.raises(SomaError) as raised:
        await completed("Write a sort", role)
    assert (raised.value.code, raised.value.retryable) == (code, False)
    assert "SLM_BASE_URL" in raised.value.detail


async def test_vectors() -> None:
    answer = await BuiltinProvider().embed(to_embed("a text", ""))
    assert (answer.model, [len(vector) for vector in answer.vectors]) == (HASHING, [384, 384])
    assert answer.usage.completion_tokens == 0


async def test_settings_choose_the_providers() -> None:
    alone = providers_from(Settings(SLM_BASE_URL=""))
    assert isinstance(alone.completion, BuiltinProvider)
    chat_only = providers_from(Settings(SLM_BASE_URL="http://127.0.0.1:9/v1"))
    assert isinstance(chat_only.completion, OpenAICompatibleProvider)
    assert isinstance(chat_only.provider_for(to_embed("x")), BuiltinProvider)
    both = providers_from(Settings(SLM_BASE_URL="http://127.0.0.1:9/v1", SLM_EMBEDDING_MODEL="e"))
    assert both.provider_for(to_embed("x")) is both.provider_for(asked("x"))
    for providers in (alone, chat_only, both):
        await providers.close()


def test_request_travels_and_returns() -> None:
    request = asked("Hello", schema={"type": "string"}, session_id="s-1", metadata={"job_id": "j", "later": [1]})
    assert SlmRequest.model_validate_json(request.to_bytes()) == request
    assert request.ordering_key == "s-1"
    assert b'"schema":{"type":"string"}' in request.to_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"version": "v2"}, {"role": "poet"}, {"prompt": ""}, {"prompt": None}, {"input": ["x"]}, {"kind": "embed"},
        {"messages": [{"role": "user", "content": "x"}]}, {"surprise": 1}, {"request_id": ""},
    ],
)  # fmt: skip
def test_messages_that_are_no_request(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SlmRequest.model_validate({**asked("Hello").model_dump(by_alias=True), **change})


def test_answer_has_one_outcome() -> None:
    with pytest.raises(ValidationError):
        SlmResponse(request_id="r", role=SlmRole.SUMMARIZATION)

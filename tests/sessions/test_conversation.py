"""A conversation from its first prompt to its end."""

from __future__ import annotations

import asyncio

from httpx_sse import ServerSentEvent, aconnect_sse
from temporalio.client import WorkflowExecutionStatus

from somagent.adapters.temporal.client import SOMA_SESSION, SOMA_STATUS, SOMA_TENANT
from somagent.tests.capsules.platform import until
from somagent.tests.sessions.world import Person, World

NOTE = "The archive of the observatory opens at nine and closes at five. Its keeper is Ines Duarte."


async def test_a_session_answers_its_first_prompt_and_goes_on(sessions: World, ann: Person) -> None:
    await ann.http.post("/v1/remember", json={"text": NOTE, "key": "archive"})
    started = await ann.start("Who is the keeper of the archive of the observatory?")
    assert started["status"] == "active"
    assert started["workflow_id"] == f"session-{started['session_id']}"
    assert started["moderation"] == {"strike_count": 0, "flagged_terms": [], "reasons": [], "bypassed": False}
    assert started["policy"]["allowed"] is True
    first = await ann.answered(started["session_id"])
    assert first["status"] == "completed", first
    assert "Ines Duarte" in first["answer"]
    assert first["model"].startswith("builtin/")
    assert first["usage"]["total_tokens"] > 0
    assert [item["key"] for item in first["recalled"]] == ["archive"]

    second = await ann.say(started["session_id"], "When does the archive of the observatory open?")
    assert (second["seq"], second["status"]) == (2, "completed")
    assert "nine" in second["answer"]
    found = await ann.session(started["session_id"])
    assert [turn["seq"] for turn in found["turns"]] == [1, 2]
    assert found["turn_count"] == 2


async def test_the_capsules_persona_and_knowledge_shape_the_answer(sessions: World, ann: Person) -> None:
    await ann.http.post("/v1/remember", json={"text": NOTE, "key": "elsewhere"})
    shelf = "The library keeps its oldest atlas in the blue cabinet."
    await ann.http.post("/v1/remember", json={"text": shelf, "key": "atlas", "namespace": "library"})
    started = await ann.start("Where does the library keep its oldest atlas?", capsule_id="librarian")
    turn = await ann.answered(started["session_id"])
    assert "blue cabinet" in turn["answer"]
    assert [item["namespace"] for item in turn["recalled"]] == ["library"]
    asked = await sessions.sql("SELECT request::text FROM slm_requests WHERE request_id = $1", turn["request_id"])
    assert "You are a librarian." in asked[0]["request"]
    assert "blue cabinet" in asked[0]["request"]
    assert "Ines Duarte" not in asked[0]["request"]


async def test_a_turn_may_start_a_job(ann: Person) -> None:
    started = await ann.start("Good morning")
    turn = await ann.say(
        started["session_id"], "Greet the observatory", job={"capsule_id": "librarian", "inputs": {"name": "all"}}
    )
    job = (await ann.http.get(f"/v1/jobs/{turn['job_id']}")).json()
    assert job["session_id"] == started["session_id"]
    answer = await ann.http.post(
        f"/v1/sessions/{started['session_id']}/turns", json={"prompt": "Hello", "job": {"capsule_id": "nowhere"}}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "capsule_not_installed")
    assert (await ann.session(started["session_id"]))["turn_count"] == 2


async def test_a_model_reads_what_is_attached(ann: Person) -> None:
    files = {"file": ("lamp.txt", b"The lamp of the tower was lit with whale oil until 1910.", "text/plain")}
    text = (await ann.http.post("/v1/attachments", files=files)).json()["id"]
    files = {"file": ("lamp.png", b"\x89PNG", "image/png")}
    picture = (await ann.http.post("/v1/attachments", files=files)).json()["id"]
    session_id = (await ann.start("Good morning"))["session_id"]
    turn = await ann.say(session_id, "With what was the lamp of the tower lit?", attachments=[text])
    assert "whale oil" in turn["answer"]
    answer = await ann.http.post(
        f"/v1/sessions/{session_id}/turns",
        json={"prompt": "And these?", "attachments": [picture, "00000000-0000-4000-8000-000000000000"]},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "input_invalid")
    assert [fault["code"] for fault in answer.json()["errors"]] == ["not_text", "not_found"]


async def test_turns_asked_at_once_are_answered_in_order(sessions: World, ann: Person) -> None:
    started = await ann.start("Good morning")
    path = f"/v1/sessions/{started['session_id']}/turns"
    answers = await asyncio.gather(
        *(ann.http.post(path, json={"prompt": f"What is number {number}?"}) for number in range(8))
    )
    turns = [answer.json() for answer in answers if answer.status_code == 200]
    busy = [answer for answer in answers if answer.status_code == 409]
    assert len(turns) + len(busy) == 8
    assert all(answer.json()["code"] == "session_busy" and "retry-after" in answer.headers for answer in busy)
    assert sorted(turn["seq"] for turn in turns) == list(range(2, len(turns) + 2))
    in_order = sorted(turns, key=lambda turn: turn["seq"])
    assert [turn["finished_at"] for turn in in_order] == sorted(turn["finished_at"] for turn in in_order)


async def test_the_same_key_is_the_same_turn(ann: Person) -> None:
    key = {"Idempotency-Key": "k-1"}
    body = {"prompt": "Good morning"}
    first = await ann.http.post("/v1/sessions", json=body, headers=key)
    again = await ann.http.post("/v1/sessions", json=body, headers=key)
    assert first.json() == again.json()
    assert again.headers["idempotent-replayed"] == "true"
    path = f"/v1/sessions/{first.json()['session_id']}/turns"
    key = {"Idempotency-Key": "k-2"}
    turns = [await ann.http.post(path, json={"prompt": "And now?"}, headers=key) for _ in range(3)]
    assert [turn.status_code for turn in turns] == [200, 200, 200]
    assert {turn.json()["seq"] for turn in turns} == {2}
    assert [turn.headers.get("idempotent-replayed") for turn in turns] == [None, "true", "true"]
    other = await ann.http.post(path, json={"prompt": "Something else"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_whoever_does_not_wait_finds_the_answer_at_its_place(ann: Person) -> None:
    started = await ann.start("Good morning")
    answer = await ann.http.post(
        f"/v1/sessions/{started['session_id']}/turns", params={"wait_seconds": 0}, json={"prompt": "And now?"}
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] in ("queued", "running")
    place = answer.headers["location"]
    await ann.answered(started["session_id"], 2)
    assert (await ann.http.get(place)).json()["status"] == "completed"


async def test_a_session_is_its_users_own(sessions: World, ann: Person) -> None:
    started = await ann.start("Good morning")
    place = f"/v1/sessions/{started['session_id']}"
    bob = await sessions.person(ann.tenant, "bob", "session:start")
    for answer in (
        await bob.http.get(place),
        await bob.http.get(f"{place}/turns/1"),
        await bob.http.get(f"{place}/stream"),
        await bob.http.post(f"{place}/turns", json={"prompt": "Hello"}),
        await bob.http.delete(place),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await bob.http.get("/v1/sessions")).json()["items"] == []
    auditor = await sessions.person(ann.tenant, "eve", "session:start", "audit:read")
    assert (await auditor.http.get(place)).status_code == 200
    assert (await auditor.http.delete(place)).status_code == 404
    stranger = await sessions.person()
    assert (await stranger.http.get(place)).status_code == 404


async def test_what_is_ended_takes_no_turn_and_stays_readable(sessions: World, ann: Person) -> None:
    started = await ann.start("Good morning")
    place = f"/v1/sessions/{started['session_id']}"
    await ann.answered(started["session_id"])
    assert [(await ann.http.delete(place)).status_code for _ in range(2)] == [204, 204]
    answer = await ann.http.post(f"{place}/turns", json={"prompt": "Hello"})
    assert (answer.status_code, answer.json()["code"]) == (409, "session_ended")
    found = await ann.session(started["session_id"])
    assert (found["status"], found["end_reason"]) == ("ended", "ended by its user")
    ended = (await ann.http.get("/v1/sessions", params={"status": "ended"})).json()["items"]
    assert [one["session_id"] for one in ended] == [started["session_id"]]
    handle = sessions.temporal.get_workflow_handle(started["workflow_id"])

    async def closed() -> bool:
        return (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED

    await until(closed)
    shown = (await handle.describe()).typed_search_attributes
    assert shown[SOMA_SESSION] == started["session_id"]
    assert (shown[SOMA_TENANT], shown[SOMA_STATUS]) == (ann.tenant, "ended")


async def test_a_cancelled_workflow_ends_its_session(sessions: World, ann: Person) -> None:
    started = await ann.start("Good morning")
    await ann.answered(started["session_id"])
    await sessions.temporal.get_workflow_handle(started["workflow_id"]).cancel()

    async def ended() -> bool:
        return str((await ann.session(started["session_id"]))["status"]) == "ended"

    await until(ended)
    assert (await ann.session(started["session_id"]))["end_reason"] == "cancelled"


async def test_the_stream_tells_everything_once_and_resumes(ann: Person) -> None:
    started = await ann.start("Good morning")
    place = f"/v1/sessions/{started['session_id']}"
    await ann.answered(started["session_id"])
    await ann.say(started["session_id"], "And now?")
    await ann.http.delete(place)
    events = await _events(ann, place)
    assert [event.event for event in events] == [
        "session.started", "turn.started", "turn.completed", "turn.started", "turn.completed", "session.ended",
    ]  # fmt: skip
    assert [event.id for event in events] == ["1", "2", "3", "4", "5", "6"]
    assert events[2].json()["data"]["seq"] == 1
    assert events[2].json()["data"]["answer"]
    rest = await _events(ann, place, {"Last-Event-ID": "4"})
    assert [event.id for event in rest] == ["5", "6"]
    wrong = await ann.http.get(f"{place}/stream", headers={"Last-Event-ID": "x"})
    assert wrong.status_code == 422


async def _events(person: Person, place: str, headers: dict[str, str] | None = None) -> list[ServerSentEvent]:
    async with aconnect_sse(person.http, "GET", f"{place}/stream", headers=headers or {}) as source:
        return [event async for event in source.aiter_sse() if event.id]


async def test_over_the_days_budget_a_turn_fails_and_says_so(sessions: World, ann: Person) -> None:
    started = await ann.start("Good morning")
    await ann.answered(started["session_id"])
    await sessions.sql("UPDATE tenants SET daily_tokens = 10 WHERE id = $1", ann.tenant)
    answer = await ann.http.post(f"/v1/sessions/{started['session_id']}/turns", json={"prompt": "And now?"})
    refused_by_policy = answer.status_code == 403
    assert refused_by_policy or answer.json()["error"]["code"] == "budget_exhausted", answer.text
    budget = (await sessions.sql("SELECT * FROM daily_budgets WHERE tenant_id = $1", ann.tenant))[0]
    assert budget["reserved_tokens"] == 0

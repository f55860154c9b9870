"""A conversation from its first prompt to its end."""

from __future__ import annotations

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

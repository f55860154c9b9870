"""People's decisions: who may decide, on what, how many, and what follows."""

from __future__ import annotations

from uuid import uuid4

import httpx

from somagent.tests.jobs.receiver import Receiver
from somagent.tests.jobs.workbench import Json, Workbench, capsule, statuses, step, step_of

URL = {"name": "url", "type": "string", "required": True}
SEND = {"method": "POST", "url": "{{ inputs.url }}/effect"}


def decide(workbench: Workbench, user: str, job_id: str, approval_id: str, **body: str) -> httpx.Response:
    """A decision as it is sent."""
    with workbench.http(user) as http:
        return http.post(f"/v1/jobs/{job_id}/approvals/{approval_id}", json=body)


def asking(quorum: int = 1) -> Json:
    """A capsule that asks, and says what was answered."""
    steps = [
        step("ask", "human.approve", {"question": "Shall {{ inputs.word }} go out?", "quorum": quorum}),
        step("say", "text.join", {"parts": ["{{ steps.ask.output.decision }}", "{{ steps.ask.output.by }}"]}),
    ]
    word = {"name": "word", "type": "string", "default": "it"}
    outputs = {"decision": "{{ steps.ask.output.decision }}", "by": "{{ steps.ask.output.by }}"}
    return capsule(f"asks_{quorum}", steps, inputs=[word], outputs=outputs)


def test_a_person_approves(workbench: Workbench) -> None:
    job_id = workbench.start(asking(), {"word": "the letter"})
    job, approval = workbench.asked(job_id)
    assert job["status"] == "waiting"
    assert statuses(job) == {"ask": "waiting", "say": "pending"}
    assert approval["question"] == "Shall the letter go out?"
    assert approval["what"]["arguments"]["question"] == approval["question"]
    assert len(approval["digest"]) == 64
    listed = workbench.ada.get("/v1/notifications", limit=200)["items"]
    assert any(job_id in one["message"] and "the letter" in one["message"] for one in listed)
    own = decide(workbench, "ada", job_id, approval["id"], decision="approve", digest=approval["digest"])
    assert (own.status_code, own.json()["code"]) == (403, "self_approval_forbidden")
    wrong = decide(workbench, "ben", job_id, approval["id"], decision="approve", digest="0" * 64)
    assert (wrong.status_code, wrong.json()["code"]) == (409, "approval_digest_mismatch")
    odd = decide(workbench, "ben", job_id, approval["id"], decision="perhaps", digest=approval["digest"])
    assert (odd.status_code, odd.json()["code"]) == (422, "validation_failed")
    done = decide(workbench, "ben", job_id, approval["id"], decision="approve", digest=approval["digest"], reason="ok")
    assert done.status_code == 200, done.text
    decided = done.json()["approvals"][0]
    assert decided["status"] == "approved"
    assert [(vote["by"], vote["decision"], vote["reason"]) for vote in decided["votes"]] == [("ben", "approve", "ok")]
    job = workbench.ended(job_id)
    assert job["result"]["outputs"] == {"decision": "approve", "by": ["ben"]}, workbench.story(job)
    again = decide(workbench, "ben", job_id, approval["id"], decision="approve", digest=approval["digest"])
    assert again.status_code == 200
    late = decide(workbench, "cyd", job_id, approval["id"], decision="reject", digest=approval["digest"])
    assert (late.status_code, late.json()["code"]) == (409, "approval_decided")


def test_a_rejection_is_an_output(workbench: Workbench) -> None:
    job_id = workbench.start(asking())
    _, approval = workbench.asked(job_id)
    workbench.vote(workbench.cyd, job_id, approval, "reject")
    job = workbench.ended(job_id)
    assert job["status"] == "completed"
    assert job["result"]["outputs"] == {"decision": "reject", "by": ["cyd"]}


def test_as_many_people_as_the_quorum_says(workbench: Workbench) -> None:
    job_id = workbench.start(asking(quorum=2))
    _, approval = workbench.asked(job_id)
    first = workbench.vote(workbench.ben, job_id, approval)
    assert first["status"] == "waiting"
    assert first["approvals"][0]["status"] == "pending"
    again = workbench.vote(workbench.ben, job_id, approval)
    assert len(again["approvals"][0]["votes"]) == 1
    other = decide(workbench, "ben", job_id, approval["id"], decision="reject", digest=approval["digest"])
    assert (other.status_code, other.json()["code"]) == (409, "already_voted")
    workbench.vote(workbench.cyd, job_id, approval)
    job = workbench.ended(job_id)
    assert job["result"]["outputs"] == {"decision": "approve", "by": ["ben", "cyd"]}


def guarded(**policies: object) -> Json:
    """A capsule whose effect needs leave."""
    steps = [
        step("before", "text.join", {"parts": ["x"]}),
        step("send", "http.request", SEND, requires_approval=True),
        step("after", "text.join", {"parts": ["{{ steps.send.output.status }}"]}),
    ]
    return capsule("guarded", steps, inputs=[URL], policies=policies)


def test_an_effect_waits_for_leave(workbench: Workbench, receiver: Receiver) -> None:
    job_id = workbench.start(guarded(), {"url": receiver.url("")})
    job, approval = workbench.asked(job_id)
    assert job["status"] == "waiting"
    assert approval["what"]["action"] == "http.request"
    assert approval["what"]["arguments"]["url"] == receiver.url("/effect")
    assert approval["what"]["constitution_hash"]
    assert receiver.calls == []
    workbench.vote(workbench.ben, job_id, approval)
    job = workbench.ended(job_id)
    assert job["status"] == "completed", workbench.story(job)
    assert receiver.count("/effect") == 1


def test_a_rejected_effect_is_left_undone(workbench: Workbench, receiver: Receiver) -> None:
    job_id = workbench.start(guarded(), {"url": receiver.url("")})
    _, approval = workbench.asked(job_id)
    workbench.vote(workbench.ben, job_id, approval, "reject")
    job = workbench.ended(job_id)
    assert job["status"] == "failed"
    assert (job["error"]["code"], job["error"]["step_id"]) == ("approval_rejected", "send")
    assert step_of(job, "send")["status"] == "failed", workbench.story(job)
    assert step_of(job, "send")["error"]["code"] == "approval_rejected"
    assert receiver.calls == []
    workbench.ada.post(f"/v1/jobs/{job_id}/retry")
    job, asked_again = workbench.asked(job_id)
    assert asked_again["id"] != approval["id"]
    workbench.vote(workbench.ben, job_id, asked_again)
    assert workbench.ended(job_id)["status"] == "completed"
    assert receiver.count("/effect") == 1


def test_the_capsules_quorum_holds_for_its_effects(workbench: Workbench, receiver: Receiver) -> None:
    job_id = workbench.start(guarded(approvals={"quorum": 2}), {"url": receiver.url("")})
    _, approval = workbench.asked(job_id)
    assert approval["quorum"] == 2
    assert workbench.vote(workbench.ben, job_id, approval)["status"] == "waiting"
    assert receiver.calls == []
    workbench.vote(workbench.cyd, job_id, approval)
    assert workbench.ended(job_id)["status"] == "completed"


def test_a_guarded_light_step(workbench: Workbench) -> None:
    steps = [
        step("write", "files.write", {"path": "a.txt", "content": "a"}, requires_approval=True),
        step("read", "files.read", {"path": "a.txt"}),
    ]
    job_id = workbench.start(capsule("guarded_light", steps))
    job, approval = workbench.asked(job_id)
    assert workbench.ada.get(f"/v1/jobs/{job_id}/artifacts")["items"] == []
    workbench.vote(workbench.ben, job_id, approval)
    job = workbench.ended(job_id)
    assert step_of(job, "read")["output"]["content"] == "a", workbench.story(job)


def test_approvals_through_a_channel(workbench: Workbench) -> None:
    ask = {"question": "Through a channel?", "channel": "web", "severity": "warning"}
    steps = [step("ask", "notifications.request_approval", ask)]
    job_id = workbench.start(capsule("channel", steps, outputs={"decision": "{{ steps.ask.output.decision }}"}))
    _, approval = workbench.asked(job_id)
    listed = workbench.ada.get("/v1/notifications", limit=200)["items"]
    assert [one["severity"] for one in listed if job_id in one["message"]] == ["warning"]
    workbench.vote(workbench.ben, job_id, approval)
    assert workbench.ended(job_id)["result"]["outputs"] == {"decision": "approve"}


def test_a_job_that_only_waits_for_people_says_so(workbench: Workbench) -> None:
    steps = [
        step("ask", "human.approve", {"question": "And?"}, needs=[]),
        step("light", "text.join", {"parts": ["x"]}, needs=[]),
        step("heavy", "shell.execute", {"command": ["sleep", "1"]}, needs=[]),
        step("end", "text.join", {"parts": ["y"]}, needs=["ask", "light", "heavy"]),
    ]
    job_id = workbench.start(capsule("beside_people", steps))
    _, approval = workbench.asked(job_id)
    job = workbench.until(job_id, lambda job: statuses(job)["heavy"] == statuses(job)["light"] == "completed")
    assert job["status"] == "waiting"
    workbench.vote(workbench.ben, job_id, approval)
    assert workbench.ended(job_id)["status"] == "completed"


def test_votes_of_two_questions_at_once(workbench: Workbench) -> None:
    steps = [
        step("one", "human.approve", {"question": "One?"}, needs=[]),
        step("two", "human.approve", {"question": "Two?"}, needs=[]),
    ]
    job_id = workbench.start(capsule("two_questions", steps))
    job = workbench.until(job_id, lambda job: len(job["approvals"]) == 2)
    by_step = {one["step_id"]: one for one in job["approvals"]}
    workbench.vote(workbench.ben, job_id, by_step["two"], "reject")
    job = workbench.ada.job(job_id)
    assert job["status"] == "waiting"
    workbench.vote(workbench.ben, job_id, by_step["one"])
    job = workbench.ended(job_id)
    assert {one["id"]: one["output"]["decision"] for one in job["steps"]} == {"one": "approve", "two": "reject"}


def test_a_vote_sent_the_moment_people_are_asked_counts(workbench: Workbench) -> None:
    definition = asking()
    workbench.publish(definition)
    for _ in range(6):
        job_id = workbench.start(definition)
        for event in workbench.ada.events(job_id):
            if event.type == "step.waiting":
                approval = workbench.ada.job(job_id)["approvals"][0]
                workbench.vote(workbench.ben, job_id, approval)
        assert workbench.ada.job(job_id)["status"] == "completed"


def test_approvals_of_others_and_of_nobody(workbench: Workbench) -> None:
    job_id = workbench.start(asking())
    other_id = workbench.start(asking())
    _, approval = workbench.asked(job_id)
    workbench.asked(other_id)
    for job, approval_id in [(job_id, str(uuid4())), (other_id, approval["id"]), (str(uuid4()), approval["id"])]:
        answer = decide(workbench, "ben", job, approval_id, decision="approve", digest=approval["digest"])
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    for job in (job_id, other_id):
        workbench.ada.post(f"/v1/jobs/{job}/cancel")
    ended = workbench.ended(job_id)
    assert ended["status"] == "cancelled"
    assert ended["approvals"][0]["status"] == "withdrawn"
    late = decide(workbench, "ben", job_id, approval["id"], decision="approve", digest=approval["digest"])
    assert (late.status_code, late.json()["code"]) == (409, "approval_decided")


def test_models_programs_and_children_wait_for_leave_too(workbench: Workbench) -> None:
    child = capsule("quiet_child", [step("one", "text.join", {"parts": ["x"]})])
    workbench.publish(child)
    guard = {"requires_approval": True, "needs": []}
    ask = {"role": "summarization", "prompt": "Postgres is the record.", "max_tokens": 20}
    steps = [
        step("model", "slm.complete", ask, **guard),
        step("program", "shell.execute", {"command": ["true"]}, **guard),
        step("child", "capsule.run", {"capsule_id": child["id"], "inputs": {}}, **guard),
    ]
    job_id = workbench.start(capsule("all_guarded", steps))
    job = workbench.until(job_id, lambda job: len(job["approvals"]) == 3)
    assert set(statuses(job).values()) == {"waiting"}
    assert job["usage"] == {"tokens": 0, "reserved_tokens": 0, "cost": 0}
    assert workbench.ada.get("/v1/jobs", parent_job_id=job_id)["items"] == []
    for approval in job["approvals"]:
        workbench.vote(workbench.ben, job_id, approval)
    job = workbench.ended(job_id)
    assert set(statuses(job).values()) == {"completed"}, workbench.story(job)


def test_leave_is_bound_to_the_arguments(workbench: Workbench, receiver: Receiver) -> None:
    first = workbench.start(guarded(), {"url": receiver.url("/a")})
    second = workbench.start(guarded(), {"url": receiver.url("/b")})
    (_, one), (_, other) = workbench.asked(first), workbench.asked(second)
    assert one["digest"] != other["digest"]
    refused = decide(workbench, "ben", first, one["id"], decision="approve", digest=other["digest"])
    assert (refused.status_code, refused.json()["code"]) == (409, "approval_digest_mismatch")
    for job_id in (first, second):
        workbench.ada.post(f"/v1/jobs/{job_id}/cancel")
        workbench.ended(job_id)
    assert receiver.calls == []

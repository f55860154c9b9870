"""How a job goes through its steps: order, branches, conditions, attempts, failure and what follows it."""

from __future__ import annotations

import threading
import time

from somagent.tests.jobs.receiver import Receiver, free_port
from somagent.tests.jobs.workbench import Json, Workbench, capsule, statuses, step, step_of, until

URL = {"name": "url", "type": "string", "required": True}
WORD = {"name": "word", "type": "string", "required": True}
SECOND = {"name": "second", "type": "string", "required": True}


def get(name: str, source: str = "url", path: str = "", **fields: object) -> Json:
    """A step that asks the receiver."""
    return step(name, "http.request", {"method": "POST", "url": f"{{{{ inputs.{source} }}}}{path}"}, **fields)


def test_independent_branches_run_at_the_same_time(workbench: Workbench, receiver: Receiver) -> None:
    steps = [
        get("left", path="/held/left", needs=[]),
        get("right", path="/held/right", needs=[]),
        step(
            "both",
            "text.join",
            {"parts": ["{{ steps.left.output.status }}", "{{ steps.right.output.status }}"], "with": "+"},
            needs=["left", "right"],
        ),
    ]
    definition = capsule("branches", steps, inputs=[URL], outputs={"sum": "{{ steps.both.output.text }}"})
    job_id = workbench.start(definition, {"url": receiver.url("")})
    until(lambda: receiver.count("/held/left") and receiver.count("/held/right"), "both branches at once")
    job = workbench.until(job_id, lambda job: statuses(job)["left"] == statuses(job)["right"] == "running")
    assert job["status"] == "running"
    assert statuses(job)["both"] == "pending"
    receiver.release()
    assert workbench.ended(job_id)["result"]["outputs"] == {"sum": "200+200"}
    assert len(receiver.calls) == 2


def test_conditions_skip_steps_and_those_that_use_them(workbench: Workbench) -> None:
    steps = [
        step("first", "text.join", {"parts": ["{{ inputs.word }}"]}),
        step("maybe", "text.join", {"parts": ["seen"]}, when="inputs.word == 'yes'"),
        step("uses", "text.join", {"parts": ["{{ steps.maybe.output.text }}"]}, needs=["maybe"]),
        step("uses_that", "text.join", {"parts": ["{{ steps.uses.output.text }}"]}, needs=["uses"]),
        step("only_needs", "text.join", {"parts": ["after"]}, needs=["maybe"]),
        step("otherwise", "text.join", {"parts": ["was left out"]}, when="steps.maybe.output == null", needs=["maybe"]),
    ]
    outputs = {"maybe": "{{ steps.maybe.output.text }}", "after": "{{ steps.only_needs.output.text }}"}
    definition = capsule("conditions", steps, inputs=[WORD], outputs=outputs)
    no = workbench.run(definition, {"word": "no"})
    assert statuses(no) == {
        "first": "completed", "maybe": "skipped", "uses": "skipped", "uses_that": "skipped",
        "only_needs": "completed", "otherwise": "completed",
    }  # fmt: skip
    assert no["result"]["outputs"] == {"maybe": None, "after": "after"}
    assert no["progress"]["completed"] == 6
    assert step_of(no, "maybe")["output"] is None
    yes = workbench.run(definition, {"word": "yes"})
    assert yes["result"]["outputs"] == {"maybe": "seen", "after": "after"}
    assert statuses(yes)["otherwise"] == "skipped"


def test_skipped_heavy_and_waiting_steps_ask_nobody(workbench: Workbench, receiver: Receiver) -> None:
    steps = [
        get("send", path="/never", when="inputs.url == ''", needs=[]),
        step("ask", "human.approve", {"question": "May it?"}, when="false", needs=[]),
        step("model", "slm.complete", {"role": "summarization", "prompt": "x"}, when="false", needs=[]),
        step("run", "shell.execute", {"command": ["true"]}, when="false", needs=[]),
        get("guarded", path="/never", when="false", needs=[], requires_approval=True),
        step("after", "text.join", {"parts": ["{{ steps.send.output }}"]}, needs=["ask", "model", "run", "guarded"]),
    ]
    job = workbench.run(capsule("skipped_kinds", steps, inputs=[URL]), {"url": receiver.url("")})
    assert set(statuses(job).values()) == {"skipped"}
    assert receiver.calls == []
    assert job["approvals"] == []


def test_a_step_is_tried_again_until_the_other_side_is_up(workbench: Workbench) -> None:
    port = free_port()
    steps = [get("send", path="/late", retry={"max_attempts": 20, "backoff_seconds": 0.3})]
    definition = capsule("retries", steps, inputs=[URL])
    job_id = workbench.start(definition, {"url": f"http://127.0.0.1:{port}"})
    workbench.until(job_id, lambda job: step_of(job, "send")["attempt"] >= 2)
    with Receiver(port) as late:
        job = workbench.ended(job_id)
        assert job["status"] == "completed", workbench.story(job)
        assert late.count("/late") == 1
    sent = step_of(job, "send")
    assert sent["attempt"] >= 3
    assert sent["error"] is None
    failures = [event for event in workbench.ada.events(job_id) if event.type == "step.pending"]
    assert [event.data["attempt"] for event in failures] == list(range(1, sent["attempt"]))
    assert {event.data["error"]["code"] for event in failures} == {"http_failed"}


def test_the_wait_between_attempts_doubles(workbench: Workbench) -> None:
    steps = [get("send", retry={"max_attempts": 4, "backoff_seconds": 0.5})]
    definition = capsule("doubling", steps, inputs=[URL])
    job_id = workbench.start(definition, {"url": f"http://127.0.0.1:{free_port()}"})
    job = workbench.ended(job_id)
    assert job["error"]["code"] == "http_failed"
    assert step_of(job, "send")["attempt"] == 4
    stamps = _stamps(workbench, job_id, "step.")
    assert len(stamps) == 8  # running and failed, four times
    waits = [_seconds(stamps[2 * n], stamps[2 * n - 1]) for n in range(1, 4)]
    assert waits[0] >= 0.5
    assert waits[1] >= 1.0
    assert waits[2] >= 2.0


def _stamps(workbench: Workbench, job_id: str, kind: str) -> list[str]:
    """When each event of that kind happened, of a job that has ended or is about to."""
    with workbench.http() as http:
        blocks = http.get(f"/v1/jobs/{job_id}/events").text.split("\n\n")
    return [block.split('"at":"')[1].split('"')[0] for block in blocks if f"event: {kind}" in block]


def _seconds(later: str, earlier: str) -> float:
    def clock(text: str) -> float:
        hours, minutes, seconds = text.split("T")[1].rstrip("Z").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)

    return (clock(later) - clock(earlier)) % 86400


def test_a_step_past_its_time_is_stopped(workbench: Workbench) -> None:
    slow = step("slow", "shell.execute", {"command": ["sleep", "600"]}, timeout_seconds=1)
    job = workbench.run(capsule("slow", [slow]), status="failed")
    assert job["error"]["code"] == "step_timed_out", workbench.story(job)
    assert step_of(job, "slow")["error"]["code"] == "step_timed_out"


def test_a_failed_step_fails_the_job_with_its_own_error(workbench: Workbench, receiver: Receiver) -> None:
    steps = [
        get("beside", path="/held/beside", needs=[]),
        step("before", "shell.execute", {"command": ["sleep", "2"]}, needs=[]),
        step("read", "files.read", {"path": "missing.txt"}),
        get("after", path="/after"),
    ]
    job = workbench.run(capsule("own_error", steps, inputs=[URL]), {"url": receiver.url("")}, status="failed")
    assert job["error"]["code"] == "file_not_found"
    assert job["error"]["step_id"] == "read"
    assert statuses(job)["before"] == "completed"
    assert statuses(job)["read"] == "failed"
    assert statuses(job)["beside"] == "cancelled"
    assert step_of(job, "read")["error"]["code"] == "file_not_found"
    assert receiver.count("/after") == 0
    assert job["result"] is None
    assert job["progress"] == {"completed": 1, "total": 4, "current": None}
    events = list(workbench.ada.events(job["id"]))
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert events[-1].type == "job.failed"


def test_retry_goes_on_at_the_failed_step(workbench: Workbench, receiver: Receiver) -> None:
    port = free_port()
    steps = [
        get("first", path="/first"),
        step("note", "notifications.send", {"message": "halfway {{ inputs.second }}"}),
        get("second", source="second", path="/second", retry={"max_attempts": 2, "backoff_seconds": 0.1}),
        get("third", path="/third"),
    ]
    definition = capsule("retry", steps, inputs=[URL, SECOND])
    second = f"http://127.0.0.1:{port}"
    job = workbench.run(definition, {"url": receiver.url(""), "second": second}, status="failed")
    assert job["error"]["step_id"] == "second"
    assert step_of(job, "second")["attempt"] == 2
    with Receiver(port) as late:
        answer = workbench.ada.post(f"/v1/jobs/{job['id']}/retry")
        assert answer["status"] in ("queued", "running")
        assert answer["error"] is None
        again = workbench.ended(job["id"])
        assert again["status"] == "completed", workbench.story(again)
        assert late.count("/second") == 1
    assert receiver.count("/first") == 1
    assert receiver.count("/third") == 1
    assert step_of(again, "second")["attempt"] == 3
    assert step_of(again, "first") == step_of(job, "first")
    told = [one for one in workbench.ada.get("/v1/notifications", limit=200)["items"] if second in one["message"]]
    assert len(told) == 1
    events = list(workbench.ada.events(job["id"]))
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events if event.type.startswith("job.")] == [
        "job.started", "job.failed", "job.retried", "job.completed",
    ]  # fmt: skip
    assert workbench.http().post(f"/v1/jobs/{job['id']}/retry").json()["code"] == "job_not_retryable"


def test_what_was_remembered_is_undone_and_done_again_by_retry(workbench: Workbench) -> None:
    port = free_port()
    steps = [
        step("note", "memory.remember", {"key": "{{ inputs.word }}", "text": "A note of a job that fails."}),
        get("send", retry={"max_attempts": 1}),
    ]
    definition = capsule("compensation", steps, inputs=[URL, WORD])
    key = f"note-{port}-{time.time_ns()}"
    job = workbench.run(definition, {"url": f"http://127.0.0.1:{port}/x", "word": key}, status="failed")
    assert not _remembered(workbench, key)
    with Receiver(port):
        workbench.ada.post(f"/v1/jobs/{job['id']}/retry")
        again = workbench.ended(job["id"])
        assert again["status"] == "completed", workbench.story(again)
    assert _remembered(workbench, key)


def test_what_was_remembered_is_undone_by_cancel(workbench: Workbench, receiver: Receiver) -> None:
    steps = [
        step("note", "memory.remember", {"key": "{{ inputs.word }}", "text": "A note of a job that is cancelled."}),
        get("send", path="/held"),
    ]
    key = f"note-{time.time_ns()}"
    job_id = workbench.start(capsule("undone", steps, inputs=[URL, WORD]), {"url": receiver.url(""), "word": key})
    until(lambda: receiver.count("/held"), "the second step")
    assert _remembered(workbench, key)
    workbench.ada.post(f"/v1/jobs/{job_id}/cancel")
    assert workbench.ended(job_id)["status"] == "cancelled"
    assert not _remembered(workbench, key)


def _remembered(workbench: Workbench, key: str) -> bool:
    with workbench.http() as http:
        found = http.post("/v1/recall", json={"query": "A note of a job", "limit": 100})
    assert found.status_code == 200, found.text
    return any(item["key"] == key for item in found.json()["items"])


def test_a_job_past_its_time_fails_with_timed_out(workbench: Workbench, receiver: Receiver) -> None:
    steps = [get("first", path="/held/first"), get("second", path="/second")]
    definition = capsule("late", steps, inputs=[URL], policies={"max_duration_seconds": 3})
    job = workbench.run(definition, {"url": receiver.url("")}, status="failed")
    assert job["error"]["code"] == "timed_out"
    assert statuses(job) == {"first": "cancelled", "second": "pending"}
    assert receiver.count("/second") == 0


def test_a_job_that_waits_for_people_times_out_too(workbench: Workbench) -> None:
    ask = step("ask", "human.approve", {"question": "Nobody answers."})
    definition = capsule("late_people", [ask], policies={"max_duration_seconds": 3})
    job = workbench.run(definition, status="failed")
    assert job["error"]["code"] == "timed_out"
    assert job["approvals"][0]["status"] == "withdrawn"


def test_each_retry_has_the_capsules_whole_time_and_no_more(workbench: Workbench) -> None:
    ask = step("ask", "human.approve", {"question": "Nobody answers, again and again."})
    definition = capsule("late_again", [ask], policies={"max_duration_seconds": 2})
    job = workbench.run(definition, status="failed")
    for attempt in range(1, 4):
        reopened = workbench.ada.post(f"/v1/jobs/{job['id']}/retry")
        stamps = _stamps(workbench, job["id"], "job.retried")
        assert len(stamps) == attempt
        assert 1.5 < _seconds(reopened["deadline"], stamps[-1]) < 2.5
        assert workbench.ended(job["id"])["error"]["code"] == "timed_out"


def test_many_light_steps_and_wide_branches(workbench: Workbench) -> None:
    branches = [step(f"b{n}", "text.join", {"parts": [n]}, needs=["root"]) for n in range(40)]
    gathered = step(
        "all",
        "text.join",
        {"parts": [f"{{{{ steps.b{n}.output.text }}}}" for n in range(40)], "with": ","},
        needs=[f"b{n}" for n in range(40)],
    )
    steps = [step("root", "text.join", {"parts": ["r"]}), *branches, gathered]
    job = workbench.run(capsule("wide", steps, outputs={"all": "{{ steps.all.output.text }}"}))
    assert job["result"]["outputs"]["all"] == ",".join(map(str, range(40)))


def test_an_output_that_cannot_be_had_fails_the_job_and_not_its_steps(workbench: Workbench) -> None:
    steps = [step("split", "text.split", {"text": "a b", "by": " "})]
    definition = capsule("no_output", steps, outputs={"third": "{{ steps.split.output.parts.7 }}"})
    job = workbench.run(definition, status="failed")
    assert job["error"]["code"] == "reference_unresolved", workbench.story(job)


def test_saved_outputs_and_files_are_artifacts(workbench: Workbench) -> None:
    steps = [
        step("page", "text.join", {"parts": ["# Title", "text"]}, save_as="page.md"),
        step("parts", "text.split", {"text": "a b", "by": " "}, save_as="parts.json"),
        step("file", "files.write", {"path": "deep/er/file.txt", "content": "ä"}),
    ]
    job = workbench.run(capsule("artifacts", steps))
    listed = workbench.ada.get(f"/v1/jobs/{job['id']}/artifacts")
    assert {one["name"]: one["bytes"] for one in listed["items"]}.keys() == {
        "deep/er/file.txt", "page.md", "parts.json",
    }  # fmt: skip
    assert workbench.ada.artifact(job["id"], "page.md") == b"# Title\ntext"
    assert workbench.ada.artifact(job["id"], "deep/er/file.txt") == "ä".encode()
    assert b'"parts"' in workbench.ada.artifact(job["id"], "parts.json")
    with workbench.http() as http:
        base = f"/v1/jobs/{job['id']}/artifacts"
        found = http.get(f"{base}/page.md")
        assert found.headers["content-type"].startswith("text/markdown")
        assert found.headers["x-content-type-options"] == "nosniff"
        for name in ("missing", "deep", "%2e%2e/%2e%2e/keys", "..%2f..%2fsecrets.json", "%2fetc%2fpasswd", "a%00b"):
            refused = http.get(f"{base}/{name}")
            assert refused.status_code == 404, name
            assert refused.json()["code"] == "not_found", name


def test_two_jobs_of_one_capsule_do_not_see_each_other(workbench: Workbench) -> None:
    steps = [
        step("write", "files.write", {"path": "mine.txt", "content": "{{ inputs.word }}"}),
        step("wait", "shell.execute", {"command": ["sleep", "0.3"]}),
        step("read", "files.read", {"path": "mine.txt"}),
    ]
    definition = capsule("apart", steps, inputs=[WORD], outputs={"word": "{{ steps.read.output.content }}"})
    workbench.publish(definition)
    jobs: dict[str, str] = {}

    def one(word: str) -> None:
        jobs[word] = workbench.start(definition, {"word": word})

    threads = [threading.Thread(target=one, args=(word,)) for word in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {word: workbench.ended(job_id)["result"]["outputs"]["word"] for word, job_id in jobs.items()} == {
        "one": "one", "two": "two",
    }  # fmt: skip

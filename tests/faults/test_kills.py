"""Processes die in the middle of work: nothing is lost, and nothing is done twice."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections import Counter

import pytest

from somagent.deploy.local.layout import Layout
from somagent.tests.faults.breakage import PATIENCE, Breakable, insist
from somagent.tests.jobs.receiver import Receiver
from somagent.tests.jobs.workbench import Json, capsule, step

JOBS = 50
URL = {"name": "url", "type": "string", "required": True}
WORD = {"name": "word", "type": "string", "required": True}
TEXT = "Postgres is the record. Temporal drives. Redis wakes those who watch. Kafka carries the queue. "
NOTE = step("note", "memory.remember", {"key": "{{ inputs.word }}", "text": "A note of {{ inputs.word }}."})
WRITE = step("write", "files.write", {"path": "word.txt", "content": "{{ inputs.word }}"})
TELL = step("tell", "notifications.send", {"message": "{{ inputs.word }}"})
SUM = step("sum", "slm.complete", {"role": "summarization", "prompt": TEXT + "{{ inputs.word }}", "max_tokens": 40})
RUN = step("run", "shell.execute", {"command": ["sh", "-c", "sleep 0.3; echo done"]}, retry={"max_attempts": 5})


def send(name: str) -> Json:
    """A step that leaves the machine, under a key of its own."""
    retry = {"max_attempts": 9, "backoff_seconds": 0.5}
    return step(name, "http.request", {"method": "POST", "url": "{{ inputs.url }}"}, retry=retry)


KINDS = [
    capsule("all_light", [NOTE, WRITE, TELL], inputs=[URL, WORD]),
    capsule("light_http", [WRITE, send("send"), NOTE, send("again")], inputs=[URL, WORD]),
    capsule("light_shell", [NOTE, RUN, send("send"), WRITE], inputs=[URL, WORD]),
    capsule("light_model", [WRITE, SUM, TELL, send("send")], inputs=[URL, WORD]),
]
HTTP = ("send", "again")
STEPS = {one["id"]: [each["id"] for each in one["workflow"]["steps"]] for one in KINDS}


@pytest.mark.timeout(900)
def test_fifty_jobs_with_everything_killed_in_the_middle(breakable: Breakable) -> None:
    for kind in KINDS:
        breakable.publish(kind)
    jobs: dict[str, str] = {}
    with Receiver() as receiver:
        for number in range(JOBS):
            inputs = {"url": receiver.url("/count"), "word": f"word-{number}"}
            kind = KINDS[number % len(KINDS)]["id"]
            jobs[breakable.take(kind, inputs, f"fifty-{number}")] = kind
            if number == JOBS // 2:
                breakable.kill("worker-workflows", "worker-activities", "worker-slm", "api")
        breakable.wait_for(list(jobs), len(jobs) // 2)
        breakable.kill("worker-workflows", "worker-activities", "worker-slm", "api")
        breakable.wait_for(list(jobs), len(jobs))
        sent = receiver.keys()
        unkeyed = sum(call.key is None for call in receiver.calls)
    assert len(jobs) == JOBS
    breakable.healthy()
    _each_job_is_complete(breakable, jobs)
    _each_effect_happened_once(breakable, jobs)
    expected = {f"{job}:{name}" for job, kind in jobs.items() for name in STEPS[kind] if name in HTTP}
    assert set(sent) == expected
    assert unkeyed == 0


def _each_job_is_complete(breakable: Breakable, jobs: dict[str, str]) -> None:
    statement = "SELECT id::text, status, steps_done, steps_total, reserved_tokens, event_seq FROM jobs"
    rows = breakable.sql(statement)
    assert {row["id"] for row in rows} == set(jobs)
    for row in rows:
        steps = STEPS[jobs[row["id"]]]
        assert (row["status"], row["steps_done"], row["steps_total"]) == ("completed", len(steps), len(steps))
        assert row["reserved_tokens"] == 0
        events = breakable.sql(
            "SELECT seq, type, data->>'step_id' FROM job_events WHERE job_id = $1 ORDER BY seq", row["id"]
        )
        assert [event[0] for event in events] == list(range(1, row["event_seq"] + 1))
        assert Counter(event[2] for event in events if event[1] == "step.completed") == Counter(steps)
        types = [event[1] for event in events]
        assert (types.count("job.started"), types.count("job.completed"), types[-1]) == (1, 1, "job.completed")
    settled = breakable.sql("SELECT job_id::text, step_id, status FROM job_steps")
    assert {(row[0], row[1]) for row in settled} == {(job, name) for job, kind in jobs.items() for name in STEPS[kind]}
    assert {row[2] for row in settled} == {"completed"}


def _each_effect_happened_once(breakable: Breakable, jobs: dict[str, str]) -> None:
    def having(name: str) -> Counter[str]:
        return Counter(job for job, kind in jobs.items() if name in STEPS[kind])

    notes = breakable.sql("SELECT job_id::text FROM memories WHERE job_id IS NOT NULL")
    assert Counter(row[0] for row in notes) == having("note")
    told = breakable.sql("SELECT job_id::text FROM notifications WHERE job_id IS NOT NULL")
    assert Counter(row[0] for row in told) == having("tell")
    words = {row[0]: row[1] for row in breakable.sql("SELECT id::text, inputs->>'word' FROM jobs")}
    for job in having("write"):
        assert insist(lambda job=job: breakable.bench.ada.artifact(job, "word.txt")) == words[job].encode()  # type: ignore[misc]
    asked = breakable.sql("SELECT job_id::text, status, reserved_tokens FROM slm_requests")
    assert Counter(row[0] for row in asked) == having("sum")
    assert {(row[1], row[2]) for row in asked} == {("completed", 0)}
    spent = breakable.sql(
        "SELECT sum(spent_tokens), (SELECT sum(spent_tokens) FROM jobs), sum(reserved_tokens) FROM daily_budgets"
    )
    assert spent[0][0] == spent[0][1] > 0
    assert spent[0][2] == 0
    assert breakable.sql("SELECT key FROM outbox WHERE kind <> 'event'") == []


@pytest.mark.timeout(600)
def test_jobs_are_taken_while_temporal_is_away(breakable: Breakable) -> None:
    light = KINDS[0]["id"]
    breakable.publish(KINDS[0])
    breakable.kill("temporal")
    taken = []
    with breakable.bench.http() as http:
        for number in range(5):
            inputs = {"url": "http://127.0.0.1:9/", "word": f"away-{number}"}
            answer = http.post("/v1/jobs", json={"capsule_id": light, "inputs": inputs})
            assert answer.status_code == 202, answer.text
            assert answer.json()["status"] == "queued"
            taken.append(answer.json()["id"])
    breakable.wait_for(taken, len(taken))
    for job_id in taken:
        assert breakable.bench.ada.job(job_id)["status"] == "completed"
    breakable.healthy()


@pytest.mark.timeout(600)
def test_a_wiped_redis_loses_no_question_to_a_model(breakable: Breakable) -> None:
    asks = [{**SUM, "id": f"sum{n}", "needs": []} for n in range(3)]
    definition = capsule("asks_much", asks, inputs=[WORD])
    breakable.publish(definition)
    taken = [breakable.take(definition["id"], {"word": f"{n} " + TEXT * 300}, f"wiped-{n}") for n in range(15)]
    pids = breakable.stack.local.pids()
    deadline = time.monotonic() + PATIENCE
    while not (waiting := _unanswered(breakable)):
        assert time.monotonic() < deadline
    os.kill(pids["worker-slm"], signal.SIGSTOP)
    try:
        os.kill(pids["redis"], signal.SIGKILL)
        for path in Layout.of(breakable.stack.data_dir).redis.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        waiting = _unanswered(breakable)
    finally:
        os.kill(pids["worker-slm"], signal.SIGCONT)
    # The relay asks again what nobody answered for two minutes; these have waited that long.
    breakable.healthy()
    breakable.sql(
        "UPDATE slm_requests SET published_at = published_at - interval '3 minutes' "
        "WHERE status IN ('queued', 'running')"
    )
    breakable.wait_for(taken, len(taken))
    assert waiting > 0
    for job_id in taken:
        job = breakable.bench.ada.job(job_id)
        assert job["status"] == "completed", breakable.bench.story(job)
        assert job["usage"]["reserved_tokens"] == 0
        assert job["usage"]["tokens"] == sum(one["output"]["usage"]["total_tokens"] for one in job["steps"])


def _unanswered(breakable: Breakable) -> int:
    return int(breakable.sql("SELECT count(*) FROM slm_requests WHERE status IN ('queued', 'running')")[0][0])


@pytest.mark.timeout(600)
def test_a_worker_that_dies_before_it_has_written_its_request(breakable: Breakable) -> None:
    child = capsule("asks_once", [SUM], inputs=[WORD])
    breakable.publish(child)
    run = step("run", "capsule.run", {"capsule_id": child["id"], "inputs": {"word": "{{ inputs.word }}"}}, needs=[])
    parent = capsule("asks_itself_and_by_a_child", [{**SUM, "needs": []}, run], inputs=[WORD])
    breakable.publish(parent)
    with breakable.locked("slm_requests") as held_up:
        job_id = breakable.take(parent["id"], {"word": "lost"}, "lost")
        held_up(2)
        breakable.kill("worker-slm")
    breakable.wait_for([job_id], 1)
    job = breakable.bench.ada.job(job_id)
    assert job["status"] == "completed", breakable.bench.story(job)
    assert [one["attempt"] for one in job["steps"]] == [1, 1]


@pytest.mark.timeout(900)
def test_servers_that_die_in_the_middle(breakable: Breakable) -> None:
    for kind in KINDS:
        breakable.publish(kind)
    with Receiver() as receiver:
        jobs = {}
        for number in range(12):
            kind = KINDS[number % len(KINDS)]["id"]
            jobs[breakable.take(kind, {"url": receiver.url("/"), "word": f"server-{number}"}, f"server-{number}")] = (
                kind
            )
        breakable.kill("postgres", "temporal", "redis", "worker-relay")
        breakable.healthy()
        breakable.wait_for(list(jobs), len(jobs))
        sent = receiver.keys()
    assert set(sent) == {f"{job}:{name}" for job, kind in jobs.items() for name in STEPS[kind] if name in HTTP}
    for job_id, kind in jobs.items():
        job = breakable.bench.ada.job(job_id)
        assert job["status"] == "completed", breakable.bench.story(job)
        done = [event.data["step_id"] for event in breakable.bench.ada.events(job_id) if event.type == "step.completed"]
        assert sorted(done) == sorted(STEPS[kind])


@pytest.mark.timeout(900)
def test_a_job_in_the_middle_goes_on_after_down_and_up(breakable: Breakable) -> None:
    steps = [send("send"), step("ask", "human.approve", {"question": "After a night?"}), send("again")]
    definition = capsule("overnight", steps, inputs=[URL])
    with Receiver() as receiver:
        breakable.publish(definition)
        job_id = breakable.take(definition["id"], {"url": receiver.url("/")}, "overnight")
        _, approval = breakable.bench.asked(job_id)
        breakable.stack.local.down()
        breakable.stack.local.up()
        insist(lambda: breakable.bench.vote(breakable.bench.ben, job_id, approval))
        breakable.wait_for([job_id], 1)
        assert breakable.bench.ada.job(job_id)["status"] == "completed"
        assert set(receiver.keys()) == {f"{job_id}:send", f"{job_id}:again"}
        assert receiver.count("/") == 2

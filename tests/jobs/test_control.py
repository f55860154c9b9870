"""What people do to a job while it runs: cancel, pause, resume, and what is refused."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psutil

from somagent.tests.harness import Stack, words
from somagent.tests.jobs.receiver import Receiver
from somagent.tests.jobs.workbench import OPEN, Workbench, capsule, statuses, step, step_of, until

URL = {"name": "url", "type": "string", "required": True}
HELD = {"method": "POST", "url": "{{ inputs.url }}/held"}
SENT = {"method": "POST", "url": "{{ inputs.url }}/sent"}


def test_cancel_stops_a_running_program(workbench: Workbench) -> None:
    seconds = f"{100_000 + uuid4().int % 100_000}"
    steps = [
        step("first", "text.join", {"parts": ["x"]}),
        step("sleep", "shell.execute", {"command": ["sleep", "{{ inputs.seconds }}"]}, timeout_seconds=600),
        step("after", "text.join", {"parts": ["y"]}),
    ]
    definition = capsule("sleeper", steps, inputs=[{"name": "seconds", "type": "string", "required": True}])
    job_id = workbench.start(definition, {"seconds": seconds})

    def sleepers() -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if words(process)[-2:] == ["sleep", seconds]]

    until(sleepers, "the program")
    with workbench.http() as http:
        answer = http.post(f"/v1/jobs/{job_id}/cancel")
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{job_id}"
    job = workbench.ended(job_id)
    assert job["status"] == "cancelled"
    assert job["error"]["code"] == "cancelled"
    assert statuses(job) == {"first": "completed", "sleep": "cancelled", "after": "cancelled"}
    until(lambda: not sleepers(), "the program's end")
    events = list(workbench.ada.events(job_id))
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events][-2:] == ["job.cancel_requested", "job.cancelled"]


def test_a_cancelled_job_can_go_on(workbench: Workbench, receiver: Receiver) -> None:
    steps = [step("first", "http.request", SENT), step("second", "http.request", HELD)]
    job_id = workbench.start(capsule("goes_on", steps, inputs=[URL]), {"url": receiver.url("")})
    until(lambda: receiver.count("/held"), "the second step")
    workbench.ada.post(f"/v1/jobs/{job_id}/cancel")
    assert workbench.ended(job_id)["status"] == "cancelled"
    receiver.release()
    workbench.ada.post(f"/v1/jobs/{job_id}/retry")
    job = workbench.ended(job_id)
    assert job["status"] == "completed", workbench.story(job)
    assert receiver.count("/sent") == 1
    assert receiver.count("/held") == 2
    assert set(receiver.keys()) == {f"{job_id}:first", f"{job_id}:second"}


def test_pause_lets_the_running_step_finish_and_begins_no_other(workbench: Workbench, receiver: Receiver) -> None:
    steps = [
        step("first", "http.request", HELD),
        step("light", "text.join", {"parts": ["x"]}),
        step("last", "http.request", SENT),
    ]
    job_id = workbench.start(capsule("pause", steps, inputs=[URL]), {"url": receiver.url("")})
    until(lambda: receiver.count("/held"), "the first step")
    assert workbench.ada.post(f"/v1/jobs/{job_id}/pause")["status"] == "paused"
    assert workbench.ada.post(f"/v1/jobs/{job_id}/pause")["status"] == "paused"
    receiver.release()
    job = workbench.until(job_id, lambda job: step_of(job, "first")["status"] == "completed")
    assert job["status"] == "paused"
    assert statuses(workbench.ada.job(job_id))["light"] == "pending"
    assert receiver.count("/sent") == 0
    assert workbench.ada.post(f"/v1/jobs/{job_id}/resume")["status"] == "running"
    job = workbench.ended(job_id)
    assert job["status"] == "completed", workbench.story(job)
    assert receiver.count("/sent") == 1
    types = [event.type for event in workbench.ada.events(job_id)]
    assert types.index("job.paused") < types.index("job.resumed") < types.index("job.completed")


def test_a_paused_job_can_be_cancelled(workbench: Workbench, receiver: Receiver) -> None:
    steps = [step("first", "http.request", HELD), step("last", "http.request", SENT)]
    job_id = workbench.start(capsule("pause_cancel", steps, inputs=[URL]), {"url": receiver.url("")})
    until(lambda: receiver.count("/held"), "the first step")
    workbench.ada.post(f"/v1/jobs/{job_id}/pause")
    receiver.release()
    workbench.until(job_id, lambda job: step_of(job, "first")["status"] == "completed")
    workbench.ada.post(f"/v1/jobs/{job_id}/cancel")
    job = workbench.ended(job_id)
    assert job["status"] == "cancelled"
    assert statuses(job) == {"first": "completed", "last": "cancelled"}
    assert receiver.count("/sent") == 0


def test_controls_that_do_not_fit_are_refused(workbench: Workbench) -> None:
    job = workbench.run(capsule("done", [step("only", "text.join", {"parts": ["x"]})]))
    with workbench.http() as http:
        for act, code in [
            ("cancel", "job_not_active"),
            ("pause", "job_not_active"),
            ("resume", "job_not_paused"),
            ("retry", "job_not_retryable"),
        ]:
            answer = http.post(f"/v1/jobs/{job['id']}/{act}")
            assert (answer.status_code, answer.json()["code"]) == (409, code), act
        answer = http.post(f"/v1/jobs/{job['id']}/budget", json={"budget_tokens": 10})
        assert (answer.status_code, answer.json()["code"]) == (409, "job_not_active")


@contextmanager
def workers_standing_still(stack: Stack) -> Iterator[None]:
    """Nobody takes up a job inside the block, as on a machine that hangs."""
    pid = stack.local.pids()["worker-workflows"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_cancel_before_the_start(workbench: Workbench, stack: Stack, receiver: Receiver) -> None:
    definition = capsule("early", [step("send", "http.request", SENT)], inputs=[URL])
    workbench.publish(definition)
    with workers_standing_still(stack):
        job_id = workbench.start(definition, {"url": receiver.url("")})
        job = workbench.ada.post(f"/v1/jobs/{job_id}/cancel")
        assert job["status"] == "cancelled"
        assert statuses(job) == {"send": "cancelled"}
    workbench.run(definition, {"url": receiver.url("")})
    assert workbench.ada.job(job_id)["status"] == "cancelled"
    assert receiver.count("/sent") == 1
    workbench.ada.post(f"/v1/jobs/{job_id}/retry")
    assert workbench.ended(job_id)["status"] == "completed"
    assert receiver.count("/sent") == 2


def test_pause_before_the_start(workbench: Workbench, stack: Stack, receiver: Receiver) -> None:
    steps = [step("light", "text.join", {"parts": ["x"]}), step("send", "http.request", SENT)]
    definition = capsule("early_pause", steps, inputs=[URL])
    workbench.publish(definition)
    with workers_standing_still(stack):
        job_id = workbench.start(definition, {"url": receiver.url("")})
        assert workbench.ada.post(f"/v1/jobs/{job_id}/pause")["status"] == "paused"
    workbench.run(definition, {"url": receiver.url("")})
    job = workbench.until(job_id, lambda job: job["started_at"])
    assert job["status"] == "paused"
    assert job["progress"]["completed"] == 0
    workbench.ada.post(f"/v1/jobs/{job_id}/resume")
    job = workbench.ended(job_id)
    assert job["status"] == "completed", workbench.story(job)
    events = list(workbench.ada.events(job_id))
    assert [event.id for event in events] == list(range(1, len(events) + 1)), workbench.story(job)
    assert [event.type for event in events].count("job.started") == 1


def test_a_retried_job_can_be_cancelled_before_it_is_taken_up(workbench: Workbench, stack: Stack) -> None:
    steps = [step("one", "text.join", {"parts": ["x"]}), step("read", "files.read", {"path": "missing"})]
    job = workbench.run(capsule("twice", steps), status="failed")
    with workers_standing_still(stack):
        assert workbench.ada.post(f"/v1/jobs/{job['id']}/retry")["status"] == "queued"
        cancelled = workbench.ada.post(f"/v1/jobs/{job['id']}/cancel")
        assert cancelled["status"] == "cancelled"
        assert statuses(cancelled) == {"one": "completed", "read": "cancelled"}
    workbench.ada.post(f"/v1/jobs/{job['id']}/retry")
    again = workbench.ended(job["id"])
    assert again["error"]["code"] == "file_not_found", workbench.story(again)
    events = list(workbench.ada.events(job["id"]))
    assert [event.id for event in events] == list(range(1, len(events) + 1))


def test_a_job_can_be_retried_the_moment_it_has_failed(workbench: Workbench) -> None:
    job_id = workbench.start(capsule("at_once", [step("read", "files.read", {"path": "missing"})]))
    for attempt in range(1, 9):
        last = next(event for event in reversed(list(workbench.ada.events(job_id))) if event.type == "job.failed")
        workbench.ada.post(f"/v1/jobs/{job_id}/retry")
        after = workbench.until(job_id, lambda job: job["status"] not in OPEN)
        assert step_of(after, "read")["attempt"] == attempt + 1, (last, workbench.story(after))
        assert after["error"]["code"] == "file_not_found"

"""Records histories of every kind of job from a real stack: ``python -m somagent.tests.workflows.record_histories``.

Run it when the workflow's commands have changed on purpose, and nothing under way needs the old ones any more.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from temporalio.client import Client, WorkflowHistory

from somagent.client import SomaGent
from somagent.tests.harness import LocalStack, Stack, describe, new_stack
from somagent.tests.jobs.receiver import Receiver, free_port
from somagent.tests.jobs.workbench import Json, Workbench, capsule, step, step_of, until

FOLDER = Path(__file__).parent / "histories"
TENANT = "recorded"
Run = tuple[str, str | None]
"""A workflow's id, and that of the run where there are several."""

URL = {"name": "url", "type": "string", "required": True}
SEND = {"method": "POST", "url": "{{ inputs.url }}"}
ONCE = {"max_attempts": 1}
SUM = {"role": "summarization", "prompt": "Postgres is the record. Temporal drives.", "max_tokens": 40}


def main() -> int:
    """Record everything into ``histories``."""
    local = new_stack(SOMAGENT_EGRESS_ALLOW="127.0.0.1", SOMAGENT_RATE_LIMITS='{"http": 6000}')
    try:
        local.up()
        stack = describe(local)
        with _workbench(stack, local) as workbench, Receiver() as receiver:
            recorder = Recorder(workbench, receiver)
            runs = {name: run_id for record in recorder.all() for name, run_id in record.items()}
        asyncio.run(_write(stack.temporal_address, runs))
    finally:
        local.destroy()
    return 0


class _workbench:  # noqa: N801 - a context manager that reads as a function
    def __init__(self, stack: Stack, local: LocalStack) -> None:
        self._stack = stack
        self._tokens = {user: _token(local, user) for user in ("ada", "ben", "cyd")}
        self._people = [SomaGent(stack.base_url, self._tokens[user], timeout=60) for user in self._tokens]

    def __enter__(self) -> Workbench:
        ada, ben, cyd = self._people
        return Workbench(TENANT, self._stack.base_url, self._tokens, ada, ben, cyd)

    def __exit__(self, *_: object) -> None:
        for person in self._people:
            person.__exit__(None, None, None)


def _token(local: LocalStack, user: str) -> str:
    done = local.run("tokens", "issue", "--tenant", TENANT, "--user", user)
    return done.stdout.rstrip().splitlines()[-1]


async def _write(address: str, runs: dict[str, Run]) -> None:
    client = await Client.connect(address)
    for name, (workflow_id, run_id) in runs.items():
        history = await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()
        _keep(name, history)
        sys.stdout.write(f"{name}: {len(history.events)} events\n")


def _keep(name: str, history: WorkflowHistory) -> None:
    """Without the names of the machine, its folders and the processes that took part."""
    text = re.sub(r'"(identity|stackTrace)": ?"(?:[^"\\]|\\.)*"', r'"\1": "recorded"', history.to_json())
    text = text.replace(f"@{socket.gethostname()}", "@recorded")
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


class Recorder:
    """Runs one job of each kind; every method gives names of histories and the runs that they are of."""

    def __init__(self, workbench: Workbench, receiver: Receiver) -> None:
        self._bench = workbench
        self._receiver = receiver

    def all(self) -> Iterator[dict[str, Run]]:
        """Every record."""
        yield from (
            self.segment(), self.heavy(), self.model(), self.approval(), self.guarded(), self.child(),
            self.cancelled(), self.failed_and_retried(), self.attempts(), self.paused(), self.timed_out(),
            self.budget(), self.killed(),
        )  # fmt: skip

    def _of(self, name: str, job_id: str, *ends: str) -> dict[str, Run]:
        job = self._bench.ended(job_id)
        assert job["status"] in (ends or ("completed",)), self._bench.story(job)
        return {name: (job["workflow_id"], job["run_id"])}

    def segment(self) -> dict[str, Run]:
        steps = [step("one", "text.join", {"parts": ["x"]}), step("two", "files.write", {"path": "a", "content": "b"})]
        return self._of("job_segment", self._bench.start(capsule("segment", steps)))

    def heavy(self) -> dict[str, Run]:
        steps = [
            step("light", "text.join", {"parts": ["x"]}),
            step("send", "http.request", SEND),
            step("run", "shell.execute", {"command": ["true"]}, needs=["light"]),
            step("end", "text.join", {"parts": ["y"]}, needs=["send", "run"]),
        ]
        return self._of("job_heavy", self._start(capsule("heavy", steps, inputs=[URL])))

    def model(self) -> dict[str, Run]:
        steps = [step("sum", "slm.complete", SUM), step("embed", "slm.embed", {"input": ["x"]}, needs=[])]
        return self._of("job_model", self._bench.start(capsule("model", steps)))

    def approval(self) -> dict[str, Run]:
        steps = [step("ask", "human.approve", {"question": "So?", "quorum": 2}), step("e", "text.join", {"parts": [1]})]
        job_id = self._bench.start(capsule("approval", steps))
        _, approval = self._bench.asked(job_id)
        for person in (self._bench.ben, self._bench.cyd):
            self._bench.vote(person, job_id, approval)
        return self._of("job_approval", job_id)

    def guarded(self) -> dict[str, Run]:
        job_id = self._start(
            capsule("guarded", [step("s", "http.request", SEND, requires_approval=True)], inputs=[URL])
        )
        _, approval = self._bench.asked(job_id)
        self._bench.vote(self._bench.ben, job_id, approval)
        return self._of("job_guarded", job_id)

    def child(self) -> dict[str, Run]:
        child = capsule("child", [step("one", "text.join", {"parts": ["x"]})])
        self._bench.publish(child)
        steps = [
            step("run", "capsule.run", {"capsule_id": child["id"], "inputs": {}}),
            step("end", "text.join", {"parts": ["y"]}),
        ]
        job_id = self._bench.start(capsule("parent", steps))
        found = self._of("job_child", job_id)
        (opened,) = self._bench.ada.get("/v1/jobs", parent_job_id=job_id)["items"]
        return {**found, **self._of("job_of_a_parent", opened["id"])}

    def killed(self) -> dict[str, Run]:
        definition = capsule("killed", [step("sleep", "shell.execute", {"command": ["sleep", "600"]})])
        job_id = self._bench.start(definition)
        self._bench.until(job_id, lambda job: step_of(job, "sleep")["status"] == "running")
        with self._bench.http() as http:
            http.put(f"/v1/kill-switch/run/{job_id}", json={"reason": "recorded"}).raise_for_status()
        return self._of("job_killed", job_id, "killed")

    def cancelled(self) -> dict[str, Run]:
        steps = [
            step("note", "memory.remember", {"key": "k", "text": "t"}),
            step("run", "shell.execute", {"command": ["sleep", "300"]}),
        ]
        job_id = self._bench.start(capsule("cancelled", steps))
        self._bench.until(job_id, lambda job: step_of(job, "run")["status"] == "running")
        self._bench.ada.post(f"/v1/jobs/{job_id}/cancel")
        return self._of("job_cancelled", job_id, "cancelled")

    def failed_and_retried(self) -> dict[str, Run]:
        port = free_port()
        steps = [step("light", "text.join", {"parts": ["x"]}), step("send", "http.request", SEND, retry=ONCE)]
        job_id = self._bench.start(capsule("retried", steps, inputs=[URL]), {"url": f"http://127.0.0.1:{port}/"})
        failed = self._of("job_failed", job_id, "failed")
        with Receiver(port):
            self._bench.ada.post(f"/v1/jobs/{job_id}/retry")
            return {**failed, **self._of("job_retried", job_id)}

    def attempts(self) -> dict[str, Run]:
        port = free_port()
        retry = {"max_attempts": 9, "backoff_seconds": 0.3}
        steps = [step("send", "http.request", SEND, retry=retry)]
        job_id = self._bench.start(capsule("attempts", steps, inputs=[URL]), {"url": f"http://127.0.0.1:{port}/"})
        self._bench.until(job_id, lambda job: step_of(job, "send")["attempt"] >= 2)
        with Receiver(port):
            return self._of("job_attempts", job_id)

    def paused(self) -> dict[str, Run]:
        with Receiver() as held:
            steps = [step("send", "http.request", SEND), step("end", "text.join", {"parts": ["x"]})]
            job_id = self._bench.start(capsule("paused", steps, inputs=[URL]), {"url": held.url("/held")})
            until(lambda: held.count("/held"), "the first step")
            self._bench.ada.post(f"/v1/jobs/{job_id}/pause")
            held.release()
            self._bench.until(job_id, lambda job: step_of(job, "send")["status"] == "completed")
            self._bench.ada.post(f"/v1/jobs/{job_id}/resume")
            return self._of("job_paused", job_id)

    def timed_out(self) -> dict[str, Run]:
        steps = [step("ask", "human.approve", {"question": "In time?"})]
        job_id = self._bench.start(capsule("timed_out", steps, policies={"max_duration_seconds": 2}))
        return self._of("job_timed_out", job_id, "failed")

    def budget(self) -> dict[str, Run]:
        job_id = self._bench.start(capsule("budget", [step("sum", "slm.complete", SUM)]), budget_tokens=1)
        self._bench.until(job_id, lambda job: job["status"] == "waiting")
        self._bench.ada.post(f"/v1/jobs/{job_id}/budget", {"budget_tokens": 5000})
        return self._of("job_budget", job_id)

    def _start(self, definition: Json) -> str:
        return self._bench.start(definition, {"url": self._receiver.url("/sent")})


if __name__ == "__main__":
    sys.exit(main())

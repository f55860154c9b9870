"""A tenant at work: somebody who submits capsules and runs jobs, and two others who decide."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from somagent.client import ApiError, SomaGent

Json = dict[str, Any]
PATIENCE = 90.0
"""Seconds that anything may take: the machine may be slow and busy."""

OPEN = ("queued", "running", "waiting", "paused")


def capsule(name: str, steps: list[Json], **fields: Any) -> Json:
    """A definition with these steps; its tools are what the steps use, its id tells its content."""
    verbs: dict[str, set[str]] = {}
    for step in steps:
        adapter, _, verb = str(step["action"]).partition(".")
        verbs.setdefault(adapter, set()).add(verb)
    definition: Json = {
        "version": "1.0.0",
        "summary": f"Shows {name.replace('_', ' ')}",
        "type": "atomic",
        "tools": [{"adapter": adapter, "actions": sorted(found)} for adapter, found in sorted(verbs.items())],
        "workflow": {"steps": steps},
        **fields,
    }
    digest = hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()[:8]
    return {"id": f"{name}_{digest}", **definition}


def step(name: str, action: str, params: Json | None = None, **fields: Any) -> Json:
    """One step of a workflow."""
    return {"id": name, "action": action, "params": params or {}, **fields}


@dataclass
class Workbench:
    """``ada`` submits; ``ben`` and ``cyd`` review and decide."""

    tenant: str
    base_url: str
    tokens: dict[str, str]
    ada: SomaGent
    ben: SomaGent
    cyd: SomaGent
    published: set[tuple[str, str]] = field(default_factory=set)

    def http(self, user: str = "ada") -> httpx.Client:
        """A bare HTTP client of that person."""
        headers = {"Authorization": f"Bearer {self.tokens[user]}"}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=60, trust_env=False)

    def publish(self, definition: Json) -> str:
        """Submit, approve and install a capsule, once a session; its id."""
        known = (definition["id"], definition["version"])
        if known in self.published:
            return str(definition["id"])
        try:
            submission = self.ada.submit_capsule(definition, owner="workshop", tenant_scope=self.tenant)
            decided = self.ben.review(submission["id"], "approve", patience=PATIENCE)
            assert decided["status"] == "approved", decided
        except ApiError as error:
            if error.code != "submission_exists":
                raise
        try:
            installation = self.ada.install(definition["id"], patience=PATIENCE)
            assert installation["status"] == "installed", installation
        except ApiError as error:
            if error.code != "already_installed":
                raise
        self.published.add(known)
        return str(definition["id"])

    def start(self, definition: Json, inputs: Json | None = None, **options: Any) -> str:
        """A job of this capsule, as soon as it is taken; its id."""
        return str(self.ada.run(self.publish(definition), inputs or {}, **options)["id"])

    def run(self, definition: Json, inputs: Json | None = None, status: str = "completed", **options: Any) -> Json:
        """A job of this capsule, once it has ended as it should."""
        job = self.ended(self.start(definition, inputs, **options))
        assert job["status"] == status, self.story(job)
        return job

    def ended(self, job_id: str) -> Json:
        """The job once it has ended."""
        return self.until(job_id, lambda job: job["status"] not in OPEN)

    def until(self, job_id: str, holds: Callable[[Json], object]) -> Json:
        """The job once this holds of it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            job = self.ada.job(job_id)
            if holds(job):
                return job
            assert time.monotonic() < deadline, self.story(job)
            time.sleep(0.1)

    def asked(self, job_id: str) -> tuple[Json, Json]:
        """The job and its first open approval, once people are asked."""
        job = self.until(job_id, lambda job: any(one["status"] == "pending" for one in job["approvals"]))
        return job, next(one for one in job["approvals"] if one["status"] == "pending")

    def vote(self, person: SomaGent, job_id: str, approval: Json, decision: str = "approve") -> Json:
        """That person's vote on what the approval shows."""
        path = f"/v1/jobs/{job_id}/approvals/{approval['id']}"
        return person.post(path, {"decision": decision, "digest": approval["digest"]})

    def story(self, job: Json) -> str:
        """What happened, for an assertion's message."""
        events = []
        if job["status"] not in OPEN:
            events = [f"{event.id} {event.type} {event.data}" for event in self.ada.events(job["id"])]
        return json.dumps(job, indent=1)[:6000] + "\n" + "\n".join(events)


def step_of(job: Json, step_id: str) -> Json:
    """That step, as the job shows it."""
    return next(one for one in job["steps"] if one["id"] == step_id)


def statuses(job: Json) -> dict[str, str]:
    """Each step's status."""
    return {one["id"]: one["status"] for one in job["steps"]}


def until(holds: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait for something outside the API."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for: {what}"
        time.sleep(0.05)

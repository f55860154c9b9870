"""A small synchronous client: what scripts and examples need, on httpx."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import orjson
import rfc8785

Json = dict[str, Any]

_FINISHED = ("completed", "failed", "cancelled", "killed")


class ApiError(Exception):
    """The service said no. ``code`` is the problem's stable code, ``problem`` the whole document."""

    def __init__(self, status: int, problem: Json) -> None:
        faults = "".join(f"\n  {fault['path']}: {fault['detail']}" for fault in problem.get("errors", []))
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}{faults}")
        self.status = status
        self.code = str(problem.get("code"))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a job. ``id`` goes into ``Last-Event-ID`` to go on after it."""

    id: int
    type: str
    data: Json


class SomaGent:
    """One person's view of one SomaGent.

    Args:
        base_url: such as ``http://127.0.0.1:8080``.
        token: a bearer token of that person.
        timeout: seconds a request may take.
    """

    def __init__(self, base_url: str, token: str, *, timeout: float = 30.0) -> None:
        self._http = httpx.Client(
            base_url=base_url, headers={"Authorization": f"Bearer {token}"}, timeout=timeout, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int) -> Json:
        """GET a document.

        Raises:
            ApiError: the answer is a problem.
        """
        return _document(self._http.get(path, params=query))

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, key: str | None = None) -> Json:
        """POST a document; ``key`` is the Idempotency-Key.

        Raises:
            ApiError: the answer is a problem.
        """
        headers = {"Idempotency-Key": key} if key else {}
        return _document(self._http.post(path, json=dict(body or {}), headers=headers))

    def submit_capsule(self, definition: Json, *, owner: str, tenant_scope: str = "global") -> Json:
        """Submit a definition for review, with its attestation hash."""
        return self.post(
            "/v1/submissions",
            {
                "capsule_id": definition["id"],
                "version": definition["version"],
                "owner": owner,
                "summary": definition["summary"],
                "definition": definition,
                "attestation_hash": attestation_hash(definition),
                "tenant_scope": tenant_scope,
            },
        )

    def review(self, submission_id: str, decision: str, *, notes: str = "", patience: float = 30.0) -> Json:
        """Vote on a submission, waiting until its automated findings are in."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return self.post(f"/v1/submissions/{submission_id}/review", {"decision": decision, "notes": notes})
            except ApiError as error:
                if error.code not in ("review_not_ready", "decision_pending") or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def install(self, capsule_id: str, *, environment: str = "prod", patience: float = 30.0) -> Json:
        """Install the newest approved version, and wait until that has succeeded or failed."""
        installation = self.post("/v1/installations", {"capsule_id": capsule_id, "environment": environment})
        deadline = time.monotonic() + patience
        while installation["status"] == "installing" and time.monotonic() < deadline:
            time.sleep(0.1)
            installation = self.get(f"/v1/installations/{installation['id']}")
        return installation

    def run(self, capsule_id: str, inputs: Json, **options: Any) -> Json:
        """Submit a job of an installed capsule."""
        return self.post("/v1/jobs", {"capsule_id": capsule_id, "inputs": inputs, **options})

    def job(self, job_id: str) -> Json:
        """A job as it stands."""
        return self.get(f"/v1/jobs/{job_id}")

    def wait(self, job_id: str, *, patience: float = 120.0, until: tuple[str, ...] = _FINISHED) -> Json:
        """Wait until the job has one of these statuses; as it then stands, or stood when patience ended."""
        deadline = time.monotonic() + patience
        while True:
            job = self.job(job_id)
            if job["status"] in until or time.monotonic() > deadline:
                return job
            time.sleep(0.1)

    def events(self, job_id: str, *, after: int = 0) -> Iterator[Event]:
        """The job's events as they happen, to its end."""
        headers = {"Last-Event-ID": str(after)} if after else {}
        with self._http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers, timeout=None) as response:
            if response.status_code != 200:
                response.read()
                raise _error(response)
            yield from _parse(response.iter_lines())

    def artifact(self, job_id: str, name: str) -> bytes:
        """A file that the job left."""
        response = self._http.get(f"/v1/jobs/{job_id}/artifacts/{name}")
        if response.status_code != 200:
            raise _error(response)
        return response.content


def attestation_hash(definition: Json) -> str:
    """The hex SHA-256 of the definition's RFC 8785 canonical JSON."""
    return hashlib.sha256(rfc8785.dumps(definition)).hexdigest()


def _parse(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield Event(int(fields.get("id", 0)), fields.get("event", ""), orjson.loads(fields["data"])["data"])
            fields = {}


def _document(response: httpx.Response) -> Json:
    if response.status_code >= 400:
        raise _error(response)
    document: Json = response.json()
    return document


def _error(response: httpx.Response) -> ApiError:
    try:
        problem: Json = response.json()
    except ValueError:
        problem = {"code": "unreadable_answer", "detail": response.text[:300]}
    return ApiError(response.status_code, problem)

"""Every operation of the OpenAPI document against the running stack: what the document says is what comes back.

For each operation schemathesis makes requests that fit the document, about things that there are, and requests that
break it in one place. No answer may be a 500, and each must have a documented status, media type and body. Left out
are the kill switch, revocation, drills and training locks, which would stop what is being asked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from somagent.client import SomaGent
from somagent.tests.conftest import Token
from somagent.tests.harness import Stack
from somagent.tests.jobs.workbench import capsule

TENANT = "fuzzed"
LEFT_OUT = r"kill-switch|/revoke|drill|/v1/training|/docs|/metrics|/stream$|/events$"
EXAMPLES = {GenerationMode.POSITIVE: 12, GenerationMode.NEGATIVE: 6}
"""Requests an operation."""
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
_PATIENCE = 40

Json = dict[str, Any]


@pytest.fixture(scope="module")
def known(stack: Stack, _issue_token: Token) -> Json:
    """Things that there are, by the names of path parameters; and a token for them."""
    token, other = _issue_token(TENANT, "fay"), _issue_token(TENANT, "gus")
    definition = capsule("fuzzed", [{"id": "say", "action": "text.join", "params": {"parts": ["a"], "with": ""}}])
    with SomaGent(stack.base_url, token, timeout=60) as fay, SomaGent(stack.base_url, other, timeout=60) as gus:
        submission = fay.submit_capsule(definition, owner="tests")
        gus.review(submission["id"], "approve")
        installation = fay.install(definition["id"])
        job = fay.wait(fay.run(definition["id"], {})["id"])
        memory = fay.post("/v1/remember", {"text": "High water at noon.", "key": "tide"})
        session = fay.post("/v1/sessions", {"prompt": "When is high water?"})
        fay.post("/v1/users", {"user_id": "zoë", "capabilities": ["job:read"]})
        fay.post(f"/v1/policies/{TENANT}/rules", {"name": "shout", "pattern": "hurry up", "weight": 0.1})
    return {
        "token": token, "tenant": TENANT, "tenant_id": TENANT, "user_id": "zoë", "user": "zoë",
        "capsule_id": definition["id"], "version": "1.0.0", "submission_id": submission["id"],
        "installation_id": installation["id"], "job_id": job["id"], "session_id": session["session_id"], "seq": 1,
        "memory_id": memory["memory_id"], "key": "tide", "name": "shout",
    }  # fmt: skip


@pytest.fixture(scope="module")
def document(stack: Stack) -> BaseSchema:
    """The running API's own document, without what is left out."""
    return schemathesis.openapi.from_url(f"{stack.base_url}/openapi.json").exclude(path_regex=LEFT_OUT)


@pytest.mark.timeout(600)
def test_every_operation_answers_as_documented(document: BaseSchema, stack: Stack, known: Json) -> None:
    faults: dict[str, str] = {}
    operations = [result.ok() for result in document.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) > 100
    for operation in operations:
        for mode in EXAMPLES:
            faults.update(_faults(operation, mode, stack, known))
    assert not faults, json.dumps(faults, indent=1)


def _faults(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, stack: Stack, known: Json) -> Json:
    """What is wrong with this operation's answers: one example of each kind of fault."""
    found: Json = {}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES[mode], deadline=None, derandomize=True, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            case.path_parameters.update({name: known[name] for name in case.path_parameters if name in known})
        answer = case.call(
            base_url=stack.base_url, headers={"Authorization": f"Bearer {known['token']}"}, timeout=_PATIENCE
        )
        for kind, words in _wrong(case, answer):
            found.setdefault(f"{operation.label}: {kind}", f"{case.as_curl_command()} -> {words}")

    try:
        ask()
    except Unsatisfiable:  # nothing in it can be broken: no parameters, no body
        assert mode is GenerationMode.NEGATIVE, operation.label
    return found


def _wrong(case: Case[Any], answer: Any) -> Iterator[tuple[str, str]]:
    if answer.status_code == requests.codes.server_error:
        yield "500", answer.text
    try:
        case.validate_response(answer, checks=CHECKS)
    except FailureGroup as group:
        for failure in group.exceptions:
            yield f"{type(failure).__name__} at {answer.status_code}", str(failure)
    except Failure as failure:
        yield f"{type(failure).__name__} at {answer.status_code}", str(failure)


@pytest.mark.parametrize(
    "path", ["/v1/notifications/stream", "/v1/jobs/{job_id}/events", "/v1/sessions/{session_id}/stream"]
)
def test_event_streams_begin_as_documented(path: str, stack: Stack, known: Json) -> None:
    address = f"{stack.base_url}{path.format_map(known)}"
    headers = {"Authorization": f"Bearer {known['token']}"}
    began = time.monotonic()
    with httpx.stream("GET", address, headers=headers, trust_env=False, timeout=_PATIENCE) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert time.monotonic() - began < _PATIENCE
    for wrong, status in (({"Last-Event-ID": "x"}, None), ({"Authorization": "Bearer x"}, 401)):
        with httpx.stream("GET", address, headers=headers | wrong, trust_env=False, timeout=_PATIENCE) as answer:
            assert status in (None, answer.status_code)
            assert answer.status_code != 500

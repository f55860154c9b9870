"""The gate from end to end on the real stack: password, token, session, verdict, a model's answer, the audit chain."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from joserfc import jws, jwt
from joserfc.jwk import KeySet

from somagent.domain.audit.chain import read_json
from somagent.domain.audit.verification import verify_export
from somagent.examples.integration_flow import CAPABILITIES, Flow, run
from somagent.tests.harness import Stack

TENANT, USER, PASSWORD = "tidewater", "una", "A long walk on the eastern pier, 1907"


@pytest.fixture(scope="module")
def flow(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    """The flow, run once."""
    issued = stack.local.run("tokens", "issue", "--tenant", TENANT, "--user", "operator")
    assert issued.returncode == 0, issued.stderr
    operator = {"Authorization": f"Bearer {issued.stdout.rstrip().splitlines()[-1]}"}
    new = {"user_id": USER, "password": PASSWORD, "capabilities": CAPABILITIES}
    with httpx.Client(base_url=stack.base_url, trust_env=False, timeout=60) as api:
        assert api.post("/v1/users", json=new, headers=operator).status_code == 201
        who = {"tenant_id": TENANT, "user_id": USER, "password": PASSWORD}
        yield run(api, stack.env["REDIS_URL"], who, tmp_path_factory.mktemp("flow"))


def test_the_token_is_of_that_person_and_verifies_by_the_published_keys(flow: Flow, stack: Stack) -> None:
    keys = KeySet.import_key_set(httpx.get(f"{stack.base_url}/.well-known/jwks.json", trust_env=False).json())
    claims = jwt.decode(flow.token, keys, algorithms=["EdDSA"]).claims
    assert (claims["sub"], claims["tenant_id"]) == (USER, TENANT)
    assert sorted(claims["capabilities"]) == sorted(CAPABILITIES)
    assert claims["exp"] - claims["iat"] == 3600
    assert jws.extract_compact(flow.token.encode()).headers()["alg"] == "EdDSA"


def test_the_session_was_moderated_and_judged(flow: Flow) -> None:
    assert flow.session["workflow_id"] == f"session-{flow.session['session_id']}"
    assert flow.session["moderation"]["strike_count"] == 0
    assert flow.session["policy"]["allowed"] is True


def test_the_verdict_is_explained(flow: Flow) -> None:
    verdict = flow.verdict
    assert verdict["allowed"] is (verdict["score"] >= verdict["threshold"])
    total = sum(feature["contribution"] for feature in verdict["reasons"]["features"])
    assert verdict["score"] == pytest.approx(total)
    assert len(verdict["reasons"]["constitution_hash"]) == 64


def test_the_message_was_answered(flow: Flow) -> None:
    request, response = flow.request, flow.response
    assert request["version"] == response["version"] == "v1"
    assert request["tenant"] == TENANT
    assert response["request_id"] == request["request_id"]
    assert response["session_id"] == flow.session["session_id"]
    assert response["error"] is None
    assert flow.turn["status"] == "completed"
    assert flow.turn["answer"] == response["result"]["completion"]


def test_the_chain_tells_all_of_it_and_verifies_offline(flow: Flow) -> None:
    document = read_json(flow.export.read_bytes())
    assert isinstance(document, dict)
    found = verify_export(document)
    assert found.whole, found.faults
    assert f"{found.entries} entries, head {found.head_seq} {found.head_hash} signed by {found.kid}: whole" in (
        flow.checked
    )
    entries = document["entries"]
    assert isinstance(entries, list)
    told = [(entry["action"], entry["object"]) for entry in entries if isinstance(entry, dict)]
    session = f"session:{flow.session['session_id']}"
    order = [
        next(place for place, (action, what) in enumerate(told) if wanted == action and about in (None, what))
        for wanted, about in (
            ("user.created", f"user:{USER}"),
            ("token.issued", None),
            ("session.started", session),
            ("session.answered", session),
            ("audit.exported", None),
        )
    ]
    assert order == sorted(order)
    decisions = [entry for entry in entries if isinstance(entry, dict) and entry["action"] == "policy.decided"]
    assert flow.verdict["decision_id"] in json.dumps(decisions)


@pytest.mark.parametrize("damage", ["change", "drop", "swap", "cut"])
def test_the_command_finds_damage(flow: Flow, damage: str, tmp_path: Path) -> None:
    document = json.loads(flow.export.read_bytes())
    _DAMAGES[damage](document["entries"])
    file = tmp_path / "damaged.json"
    file.write_text(json.dumps(document, indent=2))
    program = [sys.executable, "-m", "somagent.cli.app", "audit", "verify", str(file)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert "not whole: entry " in done.stderr


def _change(entries: list[dict[str, object]]) -> None:
    entries[1]["actor"] = "mallory"


def _swap(entries: list[dict[str, object]]) -> None:
    entries[0], entries[1] = entries[1], entries[0]


_DAMAGES: dict[str, Callable[[list[dict[str, object]]], object]] = {
    "change": _change,
    "drop": lambda entries: entries.pop(1),
    "swap": _swap,
    "cut": lambda entries: entries.pop(),
}

"""``POST /v1/evaluate`` and its neighbours, on real servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from somagent.domain.policy.constitution import DEFAULT_HASH
from somagent.tests.api.servers import PostgresServer

Client = Callable[..., httpx.Client]


def verdict(ask: httpx.Client, prompt: str = "Summarise the minutes", **body: Any) -> dict[str, Any]:
    answer = ask.post("/v1/evaluate", json={"prompt": prompt, **body})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_the_answer_is_the_contracts(ask: httpx.Client, tenant: str) -> None:
    answer = ask.post("/v1/evaluate", json={
        "session_id": "s-1", "tenant": tenant, "user": "ann", "prompt": "Summarise", "role": "summarization",
        "metadata": {"action": "files.read", "capsule_id": "document_brief", "confidence": 0.9, "of_my_own": [1]},
    })  # fmt: skip
    document = answer.json()
    assert set(document) == {"allowed", "score", "threshold", "severity", "reasons", "decision_id", "cached"}
    assert document["allowed"] is True
    assert document["score"] == pytest.approx(0.3 + 0.2 * 0.9 + 0.3 * 0.9 + 0.2)
    assert (document["threshold"], document["severity"], document["cached"]) == (0.7, "low", False)
    assert set(document["reasons"]) == {"constitution_hash", "policy", "features"}
    assert document["reasons"]["constitution_hash"] == DEFAULT_HASH
    assert document["reasons"]["policy"] == []
    assert [set(feature) for feature in document["reasons"]["features"]] == [
        {"name", "value", "weight", "contribution"}
    ] * 4
    assert sum(feature["contribution"] for feature in document["reasons"]["features"]) == document["score"]
    assert answer.headers["x-policy-decision"] == "allow"
    assert float(answer.headers["x-policy-score"]) == document["score"]
    assert answer.headers["x-constitution-hash"] == DEFAULT_HASH


def test_the_same_question_is_answered_from_the_cache(ask: httpx.Client, policy_postgres: PostgresServer) -> None:
    first, second = verdict(ask, "twice"), verdict(ask, "twice")
    assert (first["cached"], second["cached"]) == (False, True)
    assert {**first, "cached": True} == second
    rows = policy_postgres.run("SELECT features::text FROM policy_decisions WHERE id = $1::text::uuid",
                               first["decision_id"])  # fmt: skip
    assert len(rows) == 1
    assert "prompt_cleanliness" in rows[0]["features"]


@pytest.mark.parametrize(
    "other",
    [
        {"role": "code_generation"},
        {"user": "bob"},
        {"metadata": {"risk": 0.2}},
        {"metadata": {"action": "shell.execute"}},
        {"metadata": {"confidence": 0.5}},
        {"metadata": {"requires_human": True}},
        {"metadata": {"budget_required": 10, "budget_remaining": 5}},
        {"prompt": "another"},
    ],
)
def test_whatever_decides_makes_another_question(ask: httpx.Client, other: dict[str, Any]) -> None:
    verdict(ask, "the question")
    assert verdict(ask, **{"prompt": "the question", **other})["cached"] is False


def test_what_the_caller_adds_decides_nothing(ask: httpx.Client) -> None:
    verdict(ask, "noted", metadata={"note": "one"})
    assert verdict(ask, "noted", metadata={"note": "two"})["cached"] is True


def test_risk_comes_from_the_manifest(ask: httpx.Client) -> None:
    def safety(**metadata: Any) -> float:
        features = verdict(ask, metadata=metadata)["reasons"]["features"]
        return float(next(one["value"] for one in features if one["name"] == "safety"))

    assert safety(action="http.request") == pytest.approx(0.7)
    assert safety(tool="git") == pytest.approx(0.8), "the riskiest verb of the tool"
    assert safety(action="nobody.knows") == pytest.approx(0.9)
    assert safety(action="http.request", risk=0.05) == pytest.approx(0.95)


def test_a_required_human_is_a_feature_of_its_own(ask: httpx.Client) -> None:
    features = verdict(ask, metadata={"requires_human": True})["reasons"]["features"]
    assert features[-1] == {"name": "human_required", "value": -1.0, "weight": 0.15, "contribution": -0.15}


def test_too_much_risk_and_too_little_budget_is_refused(ask: httpx.Client) -> None:
    answer = ask.post(
        "/v1/evaluate",
        json={"prompt": "x", "metadata": {"risk": 1, "budget_required": 100, "budget_remaining": 10}},
    )
    assert answer.status_code == 200
    assert answer.json()["allowed"] is False
    assert answer.json()["severity"] == "medium"
    assert answer.headers["x-policy-decision"] == "refuse"


@pytest.mark.parametrize(
    ("metadata", "paths"),
    [
        ('{"risk": NaN}', ["metadata.risk"]),
        ('{"risk": Infinity, "confidence": -Infinity}', ["metadata.risk", "metadata.confidence"]),
        ('{"budget_required": 1e999}', ["metadata.budget_required"]),
        ('{"risk": 1.01, "confidence": -0.01}', ["metadata.risk", "metadata.confidence"]),
        ('{"risk": "0.5"}', ["metadata.risk"]),
        ('{"risk": true}', ["metadata.risk"]),
        ('{"budget_remaining": -1, "requires_human": "yes"}', ["metadata.budget_remaining", "metadata.requires_human"]),
        ('{"action": 7}', ["metadata.action"]),
    ],
)
def test_numbers_that_are_none(ask: httpx.Client, metadata: str, paths: list[str]) -> None:
    for path in ("/v1/evaluate", "/v1/score"):
        if path == "/v1/score" and ("N" in metadata or "I" in metadata or "e999" in metadata):
            continue
        answer = ask.post(
            path, content=f'{{"prompt": "x", "metadata": {metadata}}}', headers={"Content-Type": "application/json"}
        )
        assert answer.status_code == 422, answer.text
        assert answer.json()["code"] == "validation_failed"
        assert [fault["path"] for fault in answer.json()["errors"]] == paths


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "",
        '{"prompt": "\\ud800"}',
        '{"prompt": "x", "metadata": {"n": nan}}',
        '{"prompt": "x", "metadata": {"note": NaN}}',
        '{"prompt": ' + "[" * 100_000,
    ],
)
def test_what_is_no_json(ask: httpx.Client, body: str) -> None:
    answer = ask.post("/v1/evaluate", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json")


@pytest.mark.parametrize(
    "body", [{}, {"prompt": 1}, {"prompt": "x", "promt": "y"}, {"prompt": "x", "metadata": []}, []]
)
def test_bodies_that_do_not_fit(ask: httpx.Client, body: Any) -> None:
    assert ask.post("/v1/evaluate", json=body).status_code == 422


def test_a_prompt_as_large_as_a_body_may_be(ask: httpx.Client) -> None:
    ask.post(f"/v1/policies/{ask_tenant(ask)}/rules", json={"name": "secret", "pattern": "drop table", "weight": 1})
    prompt = "lorem ipsum " * 87_000
    assert verdict(ask, prompt)["reasons"]["policy"] == []
    assert verdict(ask, prompt[:-20] + " d r o p table")["reasons"]["policy"] == ["secret"]
    too_long = ask.post("/v1/evaluate", json={"prompt": "x" * 1_048_577})
    assert too_long.status_code == 413


def ask_tenant(ask: httpx.Client) -> str:
    """The tenant of the client's token."""
    import base64
    import json

    payload = ask.headers["authorization"].split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["tenant_id"])


def test_who_may_ask(ask: httpx.Client, tenant: str, as_caller: Client) -> None:
    assert httpx.post(f"{ask.base_url}/v1/evaluate", json={"prompt": "x"}, trust_env=False).status_code == 401
    weak = as_caller(tenant, "weak", "job:read").post("/v1/evaluate", json={"prompt": 7})
    assert (weak.status_code, weak.json()["code"]) == (403, "capability_missing")
    other = ask.post("/v1/evaluate", json={"prompt": "x", "tenant": "somebody-else"})
    assert (other.status_code, other.json()["code"]) == (403, "tenant_mismatch")
    anywhere = as_caller("law-of-nobody", "root", "policy:read", "tenant:any")
    assert anywhere.post("/v1/evaluate", json={"prompt": "x", "tenant": tenant}).status_code == 200
    assert anywhere.post("/v1/evaluate", json={"prompt": "x", "tenant": "never-made"}).status_code == 404


def test_scores_are_recorded_nowhere(ask: httpx.Client, tenant: str, policy_postgres: PostgresServer) -> None:
    values = {"prompt_cleanliness": 0.5, "confidence": 0.5, "safety": 0.5, "budget": 0.5}
    answer = ask.post("/v1/score", json={"features": values}).json()
    assert (answer["score"], answer["threshold"], answer["severity"]) == (0.5, 0.7, "medium")
    assert answer["allowed"] is False
    same = ask.post("/v1/score", json={"prompt": "x", "metadata": {"risk": 0.4}}).json()
    assert same["score"] == pytest.approx(0.88)
    assert ask.post("/v1/score", json={"features": {"safety": 1.5}}).status_code == 422
    assert policy_postgres.run("SELECT 1 FROM policy_decisions WHERE tenant_id = $1", tenant) == []


def test_decisions_are_listed_and_audited(
    ask: httpx.Client, tenant: str, policy_postgres: PostgresServer, as_caller: Client
) -> None:
    made = [verdict(ask, f"number {number}", metadata={"risk": 1.0 if number == 2 else 0.0}, user="carl")
            for number in range(3)]  # fmt: skip
    listed = ask.get(f"/v1/policies/{tenant}/decisions", params={"limit": 2}).json()
    assert [one["id"] for one in listed["items"]] == [made[2]["decision_id"], made[1]["decision_id"]]
    assert listed["items"][0]["user_id"] == "carl"
    more = ask.get(f"/v1/policies/{tenant}/decisions", params={"cursor": listed["next_cursor"]}).json()
    assert [one["id"] for one in more["items"]] == [made[0]["decision_id"]]
    refused = ask.get(f"/v1/policies/{tenant}/decisions", params={"allowed": False}).json()["items"]
    assert [one["id"] for one in refused] == ([] if made[2]["allowed"] else [made[2]["decision_id"]])
    stranger = as_caller("law-of-nobody", "eve", "policy:read")
    assert stranger.get(f"/v1/policies/{tenant}/decisions").status_code == 404
    rows = policy_postgres.run(
        "SELECT actor, outcome, detail::text AS detail FROM audit_intake WHERE tenant_id = $1 "
        "AND topic = 'policy.decisions' UNION ALL SELECT actor, outcome, detail::text FROM audit_entries "
        "WHERE tenant_id = $1 AND topic = 'policy.decisions'", tenant,
    )  # fmt: skip
    assert len(rows) == 3
    assert {row["actor"] for row in rows} == {"ann"}
    assert all("prompt_sha256" in row["detail"] and "number" not in row["detail"] for row in rows)

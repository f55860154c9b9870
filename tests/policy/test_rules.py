"""A tenant's rules over HTTP, what they do to verdicts, and what a change does to remembered ones."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from somagent.adapters.keys import KeyRing
from somagent.domain.canonical import canonical_bytes
from somagent.domain.policy.bundles import CONSTITUTION_PAYLOAD_TYPE
from somagent.domain.policy.constitution import Constitution
from somagent.tests.api.servers import PostgresServer

Client = Callable[..., httpx.Client]


def verdict(ask: httpx.Client, prompt: str, **metadata: Any) -> dict[str, Any]:
    answer = ask.post("/v1/evaluate", json={"prompt": prompt, "metadata": metadata})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def add(ask: httpx.Client, tenant: str, **rule: Any) -> httpx.Response:
    return ask.post(f"/v1/policies/{tenant}/rules", json=rule)


def test_a_rule_takes_its_weight_off(ask: httpx.Client, tenant: str) -> None:
    assert add(ask, tenant, name="tables", pattern="drop table", weight=0.4).status_code == 201
    clean, dirty = verdict(ask, "a dropped table"), verdict(ask, "DROP   TABLE users")
    assert clean["reasons"]["policy"] == []
    assert dirty["reasons"]["policy"] == ["tables"]
    assert dirty["reasons"]["features"][0] == {
        "name": "prompt_cleanliness", "value": pytest.approx(0.6), "weight": 0.3, "contribution": pytest.approx(0.18),
    }  # fmt: skip


def test_a_hard_rule_refuses_whatever_the_score(ask: httpx.Client, tenant: str) -> None:
    add(ask, tenant, name="never", pattern=r"\brm\s+-rf\s+/", kind="regex", weight=0, hard=True)
    found = verdict(ask, "please RM  -rf / now", risk=0)
    assert (found["allowed"], found["severity"], found["reasons"]["policy"]) == (False, "low", ["never"])
    assert found["score"] == 1.0


def test_a_condition_narrows_a_rule(ask: httpx.Client, tenant: str) -> None:
    add(ask, tenant, name="risky", pattern="deploy", hard=True, condition="risk > 0.5 && metadata.team == 'ops'")
    assert verdict(ask, "deploy it", risk=0.2, team="ops")["allowed"] is True
    assert verdict(ask, "deploy it", risk=0.6, team="dev")["reasons"]["policy"] == []
    assert verdict(ask, "deploy it", risk=0.6, team="ops")["reasons"]["policy"] == ["risky"]
    assert verdict(ask, "deploy it", risk=0.6)["reasons"]["policy"] == ["risky"], "without a value it holds"


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"pattern": "(", "kind": "regex"}, "pattern"),
        ({"pattern": "(?=ahead)x", "kind": "regex"}, "pattern"),
        ({"pattern": "((a{100}){100}){100}", "kind": "regex"}, "pattern"),
        ({"pattern": "***"}, "pattern"),
        ({"pattern": ""}, "pattern"),
        ({"pattern": "x", "condition": "risk >"}, "condition"),
        ({"pattern": "x", "condition": "inputs.x == 1"}, "condition"),
        ({"pattern": "x", "condition": "shout(prompt)"}, "condition"),
        ({"pattern": "x", "weight": -0.1}, "weight"),
        ({"pattern": "x", "kind": "substring"}, "kind"),
        ({"pattern": "x", "name": "no spaces"}, "name"),
        ({"pattern": "x", "colour": "red"}, "colour"),
    ],
)
def test_rules_that_cannot_be(ask: httpx.Client, tenant: str, rule: dict[str, Any], path: str) -> None:
    answer = ask.post(f"/v1/policies/{tenant}/rules", json={"name": "bad", **rule})
    assert answer.status_code == 422, answer.text
    assert path in [fault["path"] for fault in answer.json()["errors"]]
    many = ask.put(
        f"/v1/policies/{tenant}", json={"rules": [{"name": "good", "pattern": "x"}, {"name": "bad", **rule}]}
    )
    assert f"rules[1].{path}" in [fault["path"] for fault in many.json()["errors"]]
    assert ask.get(f"/v1/policies/{tenant}").json()["rules"] == []


def test_the_rules_of_a_tenant(ask: httpx.Client, tenant: str, as_caller: Client) -> None:
    place = f"/v1/policies/{tenant}"
    first = add(ask, tenant, name="one", pattern="x")
    assert first.json() == {"name": "one", "kind": "phrase", "pattern": "x", "condition": None, "weight": 0.5,
                            "hard": False, "description": ""}  # fmt: skip
    again = add(ask, tenant, name="one", pattern="y")
    assert (again.status_code, again.json()["code"]) == (409, "rule_exists")
    keyed = {"Idempotency-Key": "k1"}
    made = [ask.post(f"{place}/rules", json={"name": "two", "pattern": "y"}, headers=keyed) for _ in range(2)]
    assert [one.status_code for one in made] == [201, 201]
    assert made[1].headers["idempotent-replayed"] == "true"
    shown = ask.get(place).json()
    assert [rule["name"] for rule in shown["rules"]] == ["one", "two"]
    assert (shown["threshold"], shown["mode"], shown["constitution_version"]) == (0.7, "developer-light", 1)
    assert shown["weights"]["prompt_cleanliness"] == 0.3
    replaced = ask.put(place, json={"rules": [{"name": "three", "pattern": "z"}]})
    assert [rule["name"] for rule in replaced.json()["rules"]] == ["three"]
    twice = ask.put(place, json={"rules": [{"name": "a", "pattern": "z"}, {"name": "a", "pattern": "y"}]})
    assert twice.status_code == 422
    assert ask.delete(f"{place}/rules/three").status_code == 204
    assert ask.delete(f"{place}/rules/three").status_code == 404
    reader = as_caller(tenant, "reader", "policy:read")
    assert reader.get(place).status_code == 200
    assert reader.put(place, json={"rules": []}).status_code == 403
    stranger = as_caller("law-of-nobody", "eve", "policy:read", "policy:write")
    assert stranger.get(place).status_code == stranger.put(place, json={"rules": []}).status_code == 404


def test_changes_of_rules_are_audited(ask: httpx.Client, tenant: str, policy_postgres: PostgresServer) -> None:
    add(ask, tenant, name="one", pattern="x")
    ask.delete(f"/v1/policies/{tenant}/rules/one")
    ask.put(f"/v1/policies/{tenant}", json={"rules": []})
    rows = policy_postgres.run(
        "SELECT action FROM audit_intake WHERE tenant_id = $1 UNION ALL "
        "SELECT action FROM audit_entries WHERE tenant_id = $1", tenant,
    )  # fmt: skip
    actions = {row["action"] for row in rows}
    assert {"policy.rule.added", "policy.rule.removed", "policy.rules.replaced"} <= actions


def test_a_new_rule_empties_what_was_remembered(ask: httpx.Client, tenant: str) -> None:
    assert [verdict(ask, "the same")["cached"] for _ in range(2)] == [False, True]
    add(ask, tenant, name="unrelated", pattern="something else")
    assert verdict(ask, "the same")["cached"] is False
    assert verdict(ask, "the same")["cached"] is True
    ask.delete(f"/v1/policies/{tenant}/rules/unrelated")
    assert verdict(ask, "the same")["cached"] is False, "back to the first rules, and still asked anew"


def test_a_new_constitution_empties_what_was_remembered(
    ask: httpx.Client, tenant: str, policy_postgres: PostgresServer
) -> None:
    """A constitution of the tenant's own, signed with a key of the deployment, as an approved proposal leaves it."""
    first = [verdict(ask, "the same") for _ in range(2)]
    assert first[1]["cached"] is True
    strict = Constitution(version=1, threshold=0.99)
    content = strict.model_dump(mode="json")
    signature, kid = KeyRing(policy_postgres.keys).sign(CONSTITUTION_PAYLOAD_TYPE, canonical_bytes(content))
    policy_postgres.run(
        "INSERT INTO constitutions (tenant_id, version, content, hash, signature, signer_key_id) "
        "VALUES ($1, 1, $2::text::jsonb, $3, $4, $5)", tenant, json.dumps(content), strict.content_hash, signature, kid,
    )  # fmt: skip
    second = verdict(ask, "the same")
    for _ in range(50):
        if second["threshold"] == 0.99:
            break
        second = verdict(ask, "the same")
    assert (second["threshold"], second["allowed"], second["cached"]) == (0.99, False, False)
    assert second["reasons"]["constitution_hash"] == strict.content_hash != first[0]["reasons"]["constitution_hash"]
    assert base64.b64decode(signature)

"""Every shipped capsule, run by a new tenant on real input, without a model server and without the internet."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from somagent.client import SomaGent
from somagent.tests.journeys.conftest import Page

Json = dict[str, Any]


def _run(user: SomaGent, capsule_id: str, inputs: Json) -> Json:
    job = user.wait(user.run(capsule_id, inputs)["id"], patience=120)
    assert job["status"] == "completed", job
    outputs: Json = job["result"]["outputs"]
    return {"job_id": job["id"], **outputs}


def _file(user: SomaGent, ran: Json, name: str) -> str:
    return user.artifact(ran["job_id"], name).decode()


def test_document_brief_answers_with_citations_and_summarises_every_document(user: SomaGent) -> None:
    question = "When is the launch of the harbour ferry?"
    ran = _run(user, "document_brief", {"folder": "shared/documents", "question": question, "pattern": "*"})
    assert ran["documents"] == 2
    assert "12 May" in ran["answer"]
    (minutes,) = (source for source in ran["sources"] if source["key"] == "shared/documents/minutes.txt#1")
    assert f"because the audit is late. [{minutes['index']}]" in ran["answer"]
    assert ran["model"].startswith("builtin/")
    brief = _file(user, ran, ran["brief"])
    assert f"## {question}" in brief
    assert "[D2]" in brief
    assert "| D1 | `shared/documents/minutes.txt`" in brief
    assert "left out: `shared/documents/photo.jpg`" in brief
    found = user.post("/v1/recall", {"query": "chargers at the pier", "namespace": ran["memory_namespace"]})
    assert "chargers" in found["items"][0]["text"]


def test_document_brief_says_so_where_there_is_nothing_to_read(user: SomaGent) -> None:
    ran = _run(user, "document_brief", {"folder": "shared/documents", "question": "x", "pattern": "*.odt"})
    assert (ran["documents"], ran["summary"], ran["answer"]) == (0, None, None)
    assert "There is no text to read" in _file(user, ran, ran["brief"])


def test_repository_digest_tells_of_commits_and_committed_files(user: SomaGent) -> None:
    ran = _run(user, "repository_digest", {"repository": "shared/repository"})
    assert ran["commits"][0]["subject"] == "Plan five crossings since the batteries are new"
    digest = _file(user, ran, ran["digest"])
    assert "3 commits, 2026-01-01 to 2026-03-01; 2 files" in digest
    assert "| Ada Byron | 3 | 2026-03-01 |" in digest
    assert "ada@example.org" not in digest
    assert "untracked" not in digest
    artifacts = user.get(f"/v1/jobs/{ran['job_id']}/artifacts")
    assert [item["name"] for item in artifacts["items"]] == ["digest.md"]


def test_repository_digest_since_a_day(user: SomaGent) -> None:
    ran = _run(user, "repository_digest", {"repository": "shared/repository", "commits": 1})
    assert len(ran["commits"]) == 1


def test_web_page_watch_notifies_of_changes_only(user: SomaGent, page: Page) -> None:
    page.text = "<html><style>p {}</style><h1>Offers</h1><p>Bike 100 EUR</p><p>Lamp 10 EUR</p><script>1</script></html>"
    assert _run(user, "web_page_watch", {"url": page.url})["verdict"] == "first look"
    page.text = page.text.replace("<script>1", "<script>2")
    unchanged = _run(user, "web_page_watch", {"url": page.url})
    assert (unchanged["verdict"], unchanged["notification_id"]) == ("unchanged", None)
    page.text = page.text.replace("100", "90")
    changed = _run(user, "web_page_watch", {"url": page.url})
    assert changed["verdict"] == "changed"
    report = _file(user, changed, changed["report"])
    assert "+ Bike 90 EUR" in report
    assert "- Bike 100 EUR" in report
    assert "Lamp" not in report
    told = user.get("/v1/notifications")["items"]
    assert [item["message"] for item in told if page.url in item["message"]] == [report.strip()]


def test_incident_summary_makes_a_timeline_and_tells(user: SomaGent) -> None:
    routine = "\n".join(f"2026-03-01T10:{minute:02d}:00Z INFO served in {minute} ms" for minute in range(50))
    trouble = (
        "2026-03-01T10:31:07Z ERROR db: connection refused, pool exhausted\n"
        "2026-03-01T10:30:00Z WARN deploy 4711 of billing started by carol\n"
        "2026-03-01T10:52:00Z INFO rollback of deploy 4711 finished\n\n"
        "The deploy 4711 of billing doubled the number of connections per worker. "
        "The database refused connections because its pool was exhausted. "
        "212 customers could not check out for 22 minutes. Carol rolled the deploy back."
    )
    inputs = {"title": "Checkout down", "text": f"{routine}\n{trouble}", "severity": "error"}
    ran = _run(user, "incident_summary", inputs)
    report = _file(user, ran, ran["report"])
    timeline = report.partition("## Timeline")[2]
    deploy, refused, rollback = (timeline.index(word) for word in ("deploy 4711 of", "refused", "rollback"))
    assert deploy < refused < rollback
    assert "served in" not in report
    assert "pool was exhausted" in ran["summary"]
    (told,) = [item for item in user.get("/v1/notifications")["items"] if item["id"] == ran["notification_id"]]
    assert told["message"].startswith("Checkout down: ")
    assert told["severity"] == "error"


def test_incident_summary_reads_a_folder_and_bears_having_nothing(user: SomaGent) -> None:
    from_folder = _run(user, "incident_summary", {"title": "Launch moved", "folder": "shared/documents"})
    assert "shared/documents/minutes.txt" in _file(user, from_folder, from_folder["report"])
    empty = _run(user, "incident_summary", {"title": "Nothing"})
    assert "No logs or notes were given" in _file(user, empty, empty["report"])


def test_deliverable_work_writes_the_deliverable_from_what_is_given(user: SomaGent) -> None:
    notes = "The committee chose the northern pier because it has two chargers. The southern pier has none."
    inputs = {"goal": "Explain why the northern pier was chosen", "persona": "analyst", "inputs": {"notes": notes}}
    ran = _run(user, "deliverable_work", inputs)
    text = _file(user, ran, ran["deliverable"])
    assert text.startswith("# Explain why the northern pier was chosen")
    assert "two chargers" in text
    assert "Made as **analyst**" in text


@pytest.mark.parametrize(("planner", "most"), [("project_bootstrap_planner", 8), ("kamachiq_project_planner", 12)])
def test_planners_make_a_graph_of_deliverables(user: SomaGent, planner: str, most: int) -> None:
    ran = _run(user, planner, {"intent": "Build a web application where neighbours lend tools to each other."})
    deliverables = ran["deliverables"]
    assert 1 < len(deliverables) <= most
    known = {item["id"] for item in deliverables}
    assert all(known.issuperset(item["dependencies"]) and item["budget_tokens"] > 0 for item in deliverables)
    assert any(item["dependencies"] for item in deliverables)
    assert "graph LR" in _file(user, ran, ran["plan"])


def test_a_listed_intent_becomes_its_own_deliverables(user: SomaGent) -> None:
    intent = "Bring the handbook up to date:\n- interview the teams\n- write the chapters\n- publish it"
    ran = _run(user, "kamachiq_project_planner", {"intent": intent})
    assert [item["goal"] for item in ran["deliverables"]] == ["interview the teams", "write the chapters", "publish it"]


def test_governance_review_judges_a_run_by_policy_and_spending(user: SomaGent) -> None:
    work = _run(user, "deliverable_work", {"goal": "Describe the pier", "inputs": {"notes": "The pier is long."}})
    ran = _run(user, "kamachiq_governance_review", {"run": work["job_id"], "goal": "Describe the pier"})
    assert (ran["verdict"], ran["within_budget"], ran["policy_allowed"]) == ("pass", True, True)
    assert work["job_id"] in _file(user, ran, ran["report"])


def test_governance_review_of_a_run_that_is_not_there_fails(user: SomaGent) -> None:
    job = user.wait(user.run("kamachiq_governance_review", {"run": str(uuid4()), "goal": "x"})["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "not_found")

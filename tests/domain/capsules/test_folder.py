"""Capsules as files, and the capsules that the product ships."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.settings import Settings
from somagent.domain.canonical import sha256_hex
from somagent.domain.capsules.findings import Subject, all_findings
from somagent.tests.domain.capsules.examples import TICKET_DIGEST, ticket_digest

SHIPPED = {
    "deliverable_work",
    "document_brief",
    "incident_summary",
    "kamachiq_governance_review",
    "kamachiq_project_planner",
    "project_bootstrap_planner",
    "repository_digest",
    "web_page_watch",
}


def _write(path: Path, text: str, tick: int = 0) -> None:
    path.write_text(text)
    os.utime(path, ns=(tick, tick))


def test_files_come_and_go_and_change(tmp_path: Path) -> None:
    folder = CapsulesFolder(tmp_path)
    assert folder.all() == ()
    _write(tmp_path / "a.yaml", TICKET_DIGEST, 1)
    _write(tmp_path / "b.yml", TICKET_DIGEST.replace("1.2.0", "1.10.0"), 1)
    _write(tmp_path / "notes.txt", "no capsule", 1)
    first = folder.all()
    assert [item.definition.version for item in first] == ["1.2.0", "1.10.0"]
    assert first[0].attestation_hash == sha256_hex(ticket_digest())
    assert folder.all()[0] is first[0]
    newest = folder.find("ticket_digest")
    assert newest is not None
    assert newest.definition.version == "1.10.0"
    assert folder.find("ticket_digest", "1.2.0") is first[0]
    assert folder.find("ticket_digest", "9.9.9") is None
    assert folder.find("nobody") is None
    _write(tmp_path / "a.yaml", TICKET_DIGEST.replace("1.2.0", "1.3.0"), 2)
    (tmp_path / "b.yml").unlink()
    assert [item.definition.version for item in folder.all()] == ["1.3.0"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("id: [", "not YAML"),
        ("- 1", "holds no object"),
        ("", "holds no object"),
        ("id: a\nid: b", "stands twice"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
        (TICKET_DIGEST.replace("files.list", "files.lst"), "fault"),
        ("x: " + "y" * 1024 * 1024, "larger"),
    ],
)
def test_a_broken_file_is_told_of_and_stops_no_other(tmp_path: Path, text: str, why: str) -> None:
    _write(tmp_path / "broken.yaml", text)
    _write(tmp_path / "sound.yaml", TICKET_DIGEST)
    folder = CapsulesFolder(tmp_path)
    assert [item.definition.id for item in folder.all()] == ["ticket_digest"]
    (broken,) = folder.broken()
    assert broken.path.name == "broken.yaml"
    assert why in broken.detail
    assert broken.faults
    _write(tmp_path / "broken.yaml", TICKET_DIGEST.replace("1.2.0", "2.0.0"), 5)
    assert folder.broken() == ()


def test_a_date_without_quotes_stays_text(tmp_path: Path) -> None:
    raw = ticket_digest()
    raw["inputs"][0]["default"] = "2026-01-31"
    _write(tmp_path / "a.yaml", yaml.safe_dump(raw).replace("'2026-01-31'", "2026-01-31"))
    (item,) = CapsulesFolder(tmp_path).all()
    assert item.definition.inputs[0].default == "2026-01-31"


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert CapsulesFolder(tmp_path / "gone").all() == ()


def test_every_shipped_capsule_is_sound_and_passes_its_own_review() -> None:
    folder = CapsulesFolder(Settings().capsules_dir)
    assert folder.broken() == ()
    assert {item.definition.id for item in folder.all()} >= SHIPPED
    for item in folder.all():
        for finding in all_findings(Subject(item.document, item.attestation_hash)):
            expected = finding.severity == "info" or finding.code in ("uses_http", "uses_git")
            assert expected, f"{item.definition.id}: {finding}"


@pytest.mark.parametrize(
    ("name", "budget", "most"), [("project_bootstrap_planner", 15_000, 8), ("kamachiq_project_planner", 20_000, 12)]
)
def test_the_planners_limits(name: str, budget: int, most: int) -> None:
    item = CapsulesFolder(Settings().capsules_dir).find(name)
    assert item is not None
    planner = item.definition.planner
    assert planner is not None
    assert item.definition.policies.budget_tokens == budget
    assert (planner.heuristics.default_budget_tokens, planner.heuristics.max_deliverables) == (budget, most)

"""Histories recorded on a real server still replay: a change of the workflows' code breaks no run under way."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from somagent.workers.capsules import capsule_workflows
from somagent.workers.runner import workflow_runner

HISTORIES = sorted((Path(__file__).parent / "histories").glob("capsule_*.json"))


def test_every_way_is_recorded() -> None:
    assert {path.stem for path in HISTORIES} >= {
        "capsule_review_approved_by_two",
        "capsule_review_rejected",
        "capsule_review_replaced_and_withdrawn",
        "capsule_review_expired",
        "capsule_installation_installed",
        "capsule_installation_undone",
    }


@pytest.mark.parametrize("path", HISTORIES, ids=[path.stem for path in HISTORIES])
async def test_a_recorded_history_replays(path: Path) -> None:
    recorded = path.read_text()  # noqa: ASYNC240 - a small file, and nothing else runs
    replayer = Replayer(
        workflows=capsule_workflows(), workflow_runner=workflow_runner(), data_converter=pydantic_data_converter
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(path.stem, recorded))

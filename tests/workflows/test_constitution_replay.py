"""Histories of proposals recorded on a real server still replay: a change of the code breaks no vote under way."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from somagent.workers.constitution import constitution_workflows
from somagent.workers.runner import workflow_runner

HISTORIES = sorted((Path(__file__).parent / "histories").glob("constitution_*.json"))


def test_every_way_is_recorded() -> None:
    assert {path.stem for path in HISTORIES} >= {
        "constitution_activated_by_two",
        "constitution_rejected",
        "constitution_withdrawn",
        "constitution_expired",
    }


@pytest.mark.parametrize("path", HISTORIES, ids=[path.stem for path in HISTORIES])
async def test_a_recorded_history_replays(path: Path) -> None:
    recorded = path.read_text()  # noqa: ASYNC240 - a small file, and nothing else runs
    replayer = Replayer(
        workflows=constitution_workflows(), workflow_runner=workflow_runner(), data_converter=pydantic_data_converter
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(path.stem, recorded))

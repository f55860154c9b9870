"""Histories of sessions recorded on a real server still replay, by versioned workers too."""

from __future__ import annotations

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from somagent.workers.runner import workflow_runner
from somagent.workers.sessions import session_workflows

HISTORIES = sorted((Path(__file__).parent / "histories").glob("session_*.json"))


def test_every_way_is_recorded() -> None:
    assert {path.stem for path in HISTORIES} >= {
        "session_ended_by_its_user",
        "session_cancelled",
        "session_idle",
        "session_continued",
    }


@pytest.mark.parametrize("build_id", ["", "1.2.3"])
@pytest.mark.parametrize("path", HISTORIES, ids=[path.stem for path in HISTORIES])
async def test_a_recorded_history_replays(path: Path, build_id: str) -> None:
    recorded = path.read_text()  # noqa: ASYNC240 - a small file, and nothing else runs
    replayer = Replayer(
        workflows=session_workflows(build_id), workflow_runner=workflow_runner(), data_converter=pydantic_data_converter
    )
    await replayer.replay_workflow(WorkflowHistory.from_json(path.stem, recorded))

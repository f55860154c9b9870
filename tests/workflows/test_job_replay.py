"""Recorded histories of jobs run through today's workflow code: a change that would break jobs under way fails here.

``python -m somagent.tests.workflows.record_histories`` records them anew on a real stack.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from somagent.workers.runner import workflow_runner
from somagent.workflows.job_execution import JobExecutionWorkflow

HISTORIES = sorted((Path(__file__).parent / "histories").glob("job_*.json"))


def _recorded(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def replayer() -> Replayer:
    """Today's workflow in the product's sandbox."""
    return Replayer(
        workflows=[JobExecutionWorkflow],
        workflow_runner=workflow_runner(),
        data_converter=pydantic_data_converter,
    )


def test_every_kind_of_run_is_recorded() -> None:
    assert {path.stem for path in HISTORIES} >= {
        "job_segment", "job_heavy", "job_model", "job_approval", "job_guarded", "job_child", "job_of_a_parent",
        "job_cancelled", "job_failed", "job_retried", "job_attempts", "job_paused", "job_timed_out", "job_budget",
        "job_killed",
    }  # fmt: skip


@pytest.mark.parametrize("path", HISTORIES, ids=[path.stem for path in HISTORIES])
async def test_replay(path: Path) -> None:
    history = WorkflowHistory.from_json(path.stem, _recorded(path))
    result = await replayer().replay_workflow(history, raise_on_replay_failure=False)
    assert result.replay_failure is None, result.replay_failure


async def test_a_step_that_is_not_in_the_plan_any_more_is_noticed() -> None:
    recorded = json.loads(_recorded(Path(__file__).parent / "histories" / "job_heavy.json"))
    for event in recorded["events"]:
        scheduled = event.get("activityTaskScheduledEventAttributes")
        if scheduled is not None:
            scheduled["activityType"]["name"] = "run_sandboxed_step"
    result = await replayer().replay_workflow(
        WorkflowHistory.from_json("changed", recorded), raise_on_replay_failure=False
    )
    assert result.replay_failure is not None

"""A definition's faults are those that it has: none that follows from another."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from somagent.domain.capsules.validation import definition_faults

SOUND: dict[str, Any] = {
    "id": "greeting",
    "version": "1.0.0",
    "summary": "Greets by name",
    "type": "atomic",
    "tools": [{"adapter": "text", "actions": ["join"]}],
    "workflow": {"steps": [{"id": "say", "action": "text.join", "params": {"parts": ["hello"], "with": " "}}]},
}


@pytest.mark.parametrize(
    ("extra", "paths"),
    [
        ({"zork": 1}, ["workflow.steps[0].zork"]),
        ({"retry": {"max_attempts": 0}}, ["workflow.steps[0].retry.max_attempts"]),
        ({"timeout_seconds": -1}, ["workflow.steps[0].timeout_seconds"]),
    ],
)
def test_a_faulty_only_step_does_not_make_the_list_of_steps_too_short(extra: dict[str, Any], paths: list[str]) -> None:
    definition = deepcopy(SOUND)
    definition["workflow"]["steps"][0].update(extra)
    assert [fault.path for fault in definition_faults(definition)] == paths


def test_a_workflow_without_steps_is_too_short() -> None:
    definition = {**SOUND, "workflow": {"steps": []}}
    assert [(fault.path, fault.code) for fault in definition_faults(definition)] == [("workflow.steps", "out_of_range")]

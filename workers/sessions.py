"""What a worker of the gateway's sessions runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from somagent.activities.session import PostgresSessionActivities
from somagent.workers.parts import Parts
from somagent.workflows.session import SessionWorkflow, UpgradingSessionWorkflow


def session_workflows(build_id: str = "") -> list[type]:
    """The workflows, for queue ``soma-workflows``; those of a worker with a version go on with the next one."""
    return [UpgradingSessionWorkflow if build_id else SessionWorkflow]


def session_activities(parts: Parts) -> list[Callable[..., Any]]:
    """The activities, for queue ``soma-activities``."""
    work = PostgresSessionActivities(parts.app_db, parts.turns, parts.wakeups)
    return [work.ask_turn, work.look_at_turn, work.end]

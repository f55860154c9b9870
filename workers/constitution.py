"""What a worker of the constitution service runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from somagent.activities.constitution import PostgresConstitutionActivities
from somagent.adapters.postgres.database import Database
from somagent.workflows.constitution_update import ConstitutionUpdateWorkflow


def constitution_workflows() -> list[type]:
    """The workflows, for queue ``soma-workflows``."""
    return [ConstitutionUpdateWorkflow]


def constitution_activities(app_db: Database) -> list[Callable[..., Any]]:
    """The activities, for queue ``soma-activities``."""
    activities = PostgresConstitutionActivities(app_db)
    return [activities.examine, activities.record_ballot, activities.remind, activities.expire]

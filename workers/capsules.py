"""What a worker of the task-capsule repository runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from somagent.activities.installation import PostgresInstallationActivities
from somagent.activities.review import PostgresReviewActivities
from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.postgres.database import Database
from somagent.workflows.capsule_installation import CapsuleInstallationWorkflow
from somagent.workflows.capsule_review import CapsuleReviewWorkflow


def capsule_workflows() -> list[type]:
    """The workflows, for queue ``soma-workflows``."""
    return [CapsuleReviewWorkflow, CapsuleInstallationWorkflow]


def capsule_activities(app_db: Database, system_db: Database, folder: CapsulesFolder) -> list[Callable[..., Any]]:
    """The activities, for queue ``soma-activities``."""
    review = PostgresReviewActivities(app_db, folder)
    installation = PostgresInstallationActivities(app_db, system_db, folder)
    return [
        review.check,
        review.store_findings,
        review.record_vote,
        review.remind,
        review.expire,
        installation.verify_attestation,
        installation.check_scope,
        installation.check_tools,
        installation.reserve_namespace,
        installation.release_namespace,
        installation.reserve_budget,
        installation.restore_budget,
        installation.activate,
        installation.deactivate,
        installation.fail,
    ]

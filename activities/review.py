"""Reviews: each activity is one unit of work of the submission's tenant."""

from __future__ import annotations

import asyncio

from temporalio import activity

from somagent.activities.failures import translated
from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.postgres.database import Database
from somagent.domain.messages.review import (
    CheckReport,
    CheckRequest,
    FindingsReport,
    Reminder,
    ReviewSnapshot,
    SubmissionRef,
    VoteOrder,
)
from somagent.services.capsules import checks, reviews
from somagent.workflows.ports.review import CHECK, EXPIRE, RECORD_VOTE, REMIND, STORE_FINDINGS, ReviewActivities


class PostgresReviewActivities(ReviewActivities):
    """The port, on Postgres."""

    def __init__(self, database: Database, folder: CapsulesFolder) -> None:
        self._database = database
        self._folder = folder

    @activity.defn(name=CHECK)
    async def check(self, request: CheckRequest) -> CheckReport:
        """Read the definition, then check it outside the unit of work: a dry run may take a while."""
        with translated():
            async with self._database.tenant(request.submission.tenant_id) as session:
                examined = await checks.load(session, self._folder, request.submission)
            return await asyncio.to_thread(checks.run, examined, request.check)

    @activity.defn(name=STORE_FINDINGS)
    async def store_findings(self, report: FindingsReport) -> ReviewSnapshot:
        """Store the findings of one revision."""
        with translated():
            async with self._database.tenant(report.submission.tenant_id) as session:
                return await reviews.store_findings(session, report)

    @activity.defn(name=RECORD_VOTE)
    async def record_vote(self, order: VoteOrder) -> ReviewSnapshot:
        """Count a vote."""
        with translated():
            async with self._database.tenant(order.submission.tenant_id) as session:
                return await reviews.record_vote(session, order)

    @activity.defn(name=REMIND)
    async def remind(self, reminder: Reminder) -> ReviewSnapshot:
        """Remind the reviewers."""
        with translated():
            async with self._database.tenant(reminder.submission.tenant_id) as session:
                return await reviews.remind(session, reminder)

    @activity.defn(name=EXPIRE)
    async def expire(self, submission: SubmissionRef) -> ReviewSnapshot:
        """Let the submission expire."""
        with translated():
            async with self._database.tenant(submission.tenant_id) as session:
                return await reviews.expire(session, submission)

"""Reviews over days, on Temporal's time-skipping server and a real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.postgres.database import Database
from somagent.adapters.temporal.client import SOMA_STATUS
from somagent.domain.caller import Caller
from somagent.domain.messages.orders import WorkflowOrder
from somagent.domain.messages.review import (
    CAST_VOTE,
    SUBMISSION_CHANGED,
    Decision,
    ReviewSnapshot,
    SubmissionChange,
    SubmissionStatus,
    Vote,
)
from somagent.domain.messages.review_state import ReviewState
from somagent.services.capsules.submissions import NewSubmission, submit
from somagent.services.starter import WORKFLOW_QUEUE
from somagent.services.tenants import ensure_tenant
from somagent.tests.capsules.definitions import capsule, submission
from somagent.tests.capsules.platform import Addresses, databases, worker
from somagent.tests.skipping import start_skipping
from somagent.workflows.capsule_review import CapsuleReviewWorkflow


@dataclass(frozen=True, slots=True)
class Clock:
    """A review under a clock that can be moved."""

    environment: WorkflowEnvironment
    app_db: Database
    owner_db: Database
    handle: WorkflowHandle[CapsuleReviewWorkflow, ReviewState]
    submission_id: UUID

    async def row(self) -> Any:
        """The submission as Postgres has it."""
        return await self.owner_db.pool.fetchrow("SELECT * FROM submissions WHERE id = $1", self.submission_id)

    async def reminders(self) -> int:
        """How often the reviewers were reminded."""
        return int(
            await self.owner_db.pool.fetchval(
                "SELECT count(*) FROM notifications WHERE effect_key LIKE $1",
                f"review-{self.submission_id}:%:reminder:%",
            )
        )

    async def closed(self) -> datetime:
        """When the review ended, by its own clock."""
        description = await self.handle.describe()
        assert description.close_time is not None
        return description.close_time

    async def vote(self, decision: Decision) -> ReviewSnapshot:
        """A reviewer's vote, as the API casts it."""
        cast = Vote(vote_id=str(uuid4()), revision=1, reviewer="ben", decision=decision, ready=True)
        counted: ReviewSnapshot = await self.handle.execute_update(CAST_VOTE, cast, result_type=ReviewSnapshot)
        return counted


@pytest.fixture
async def clock(addresses: Addresses, time_skipping_server: Path, tmp_path: Path) -> AsyncIterator[Clock]:
    """A submission whose review has begun."""
    tenant, folder = f"t-{uuid4().hex[:10]}", CapsulesFolder(tmp_path)
    caller = Caller(user_id="ada", tenant_id=tenant, capabilities=frozenset({"*"}), jti="", exp=0)
    environment = await start_skipping(time_skipping_server)
    async with (
        environment,
        databases(addresses) as (app_db, system_db, owner_db),
        worker(environment.client, app_db, system_db, folder),
    ):
        # The time-skipping server can add search attributes, but not list those it has.
        await environment.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace="default",
                search_attributes={SOMA_STATUS.name: IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD},
            )
        )
        await ensure_tenant(system_db, tenant, tmp_path)
        async with app_db.tenant(tenant) as session:
            new = NewSubmission.model_validate(submission(capsule()))
            row, recorded = await submit(session, folder, caller, new)
        assert isinstance(recorded.order, WorkflowOrder)
        handle = await environment.client.start_workflow(
            CapsuleReviewWorkflow.run,
            ReviewState.model_validate(recorded.order.argument),
            id=row.workflow_id,
            task_queue=WORKFLOW_QUEUE,
        )
        yield Clock(environment, app_db, owner_db, handle, row.id)


async def test_nobody_votes_and_after_fourteen_days_it_expires(clock: Clock) -> None:
    began = await clock.environment.get_current_time()
    state = await clock.handle.result()
    assert state.status is SubmissionStatus.EXPIRED
    assert timedelta(days=13, hours=23) < await clock.closed() - began < timedelta(days=14, hours=1)
    assert (await clock.row())["status"] == "expired"
    assert (await clock.row())["decided_at"] is not None
    assert await clock.reminders() == 13


async def test_a_vote_after_thirteen_days_still_counts(clock: Clock) -> None:
    await clock.environment.sleep(timedelta(days=13))
    snapshot = await clock.vote(Decision.APPROVE)
    assert snapshot.status is SubmissionStatus.APPROVED
    state = await clock.handle.result()
    assert (state.status, state.approvals) == (SubmissionStatus.APPROVED, ("ben",))
    assert await clock.reminders() in (12, 13)


async def test_a_replacement_begins_the_days_anew(clock: Clock) -> None:
    await clock.environment.sleep(timedelta(days=10))
    later = datetime.now(UTC) + timedelta(days=24)
    await clock.owner_db.pool.execute(
        "UPDATE submissions SET revision = 2, findings_ready = false, findings = '[]', deadline = $2 WHERE id = $1",
        clock.submission_id,
        later,
    )
    change = SubmissionChange(status=SubmissionStatus.PENDING, revision=2, deadline=later)
    await clock.handle.signal(SUBMISSION_CHANGED, change)
    state = await clock.handle.result()
    assert (state.status, state.revision) == (SubmissionStatus.EXPIRED, 2)
    assert await clock.closed() >= later
    row = await clock.row()
    assert (row["status"], row["findings_ready"]) == ("expired", True)


async def test_a_withdrawal_ends_the_review(clock: Clock) -> None:
    await clock.environment.sleep(timedelta(days=2))
    row = await clock.row()
    await clock.owner_db.pool.execute("UPDATE submissions SET status = 'withdrawn' WHERE id = $1", clock.submission_id)
    change = SubmissionChange(status=SubmissionStatus.WITHDRAWN, revision=1, deadline=row["deadline"])
    await clock.handle.signal(SUBMISSION_CHANGED, change)
    assert (await clock.handle.result()).status is SubmissionStatus.WITHDRAWN


async def test_a_lost_withdrawal_is_noticed_within_a_day(clock: Clock) -> None:
    await clock.environment.sleep(timedelta(hours=1))
    await clock.owner_db.pool.execute("UPDATE submissions SET status = 'withdrawn' WHERE id = $1", clock.submission_id)
    began = await clock.environment.get_current_time()
    assert (await clock.handle.result()).status is SubmissionStatus.WITHDRAWN
    assert await clock.closed() - began < timedelta(days=1)
    assert await clock.reminders() == 0

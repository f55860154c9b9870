"""Each activity may run twice: its worker died after the commit and before the report. The second changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

from somagent.activities.installation import PostgresInstallationActivities
from somagent.activities.review import PostgresReviewActivities
from somagent.domain.caller import Caller
from somagent.domain.messages.installation import FailedInstallation, InstallationFailure, InstallationRef
from somagent.domain.messages.review import (
    Check,
    CheckRequest,
    Decision,
    FindingsReport,
    Reminder,
    ReviewSnapshot,
    SubmissionRef,
    SubmissionStatus,
    Vote,
    VoteOrder,
)
from somagent.services.capsules.installations import NewInstallation, install
from somagent.services.capsules.submissions import NewSubmission, submit
from somagent.services.tenants import ensure_tenant
from somagent.tests.capsules.definitions import capsule, submission
from somagent.tests.capsules.platform import Platform

_TOUCHED = {
    "installations": "SELECT id, status, error, previous_id FROM installations WHERE tenant_id = $1 ORDER BY id",
    "capsule_budgets": "SELECT environment, installation_id, budget_tokens FROM capsule_budgets WHERE tenant_id = $1 "
    "ORDER BY environment, capsule_id",
    "memory_namespaces": "SELECT namespace, owner_id, owner_kind FROM memory_namespaces WHERE tenant_id = $1 "
    "ORDER BY namespace",
    "notifications": "SELECT effect_key, message, user_id FROM notifications WHERE tenant_id = $1 ORDER BY effect_key",
    "outbox": "SELECT id, kind, key FROM outbox WHERE tenant_id = $1 ORDER BY id",
}


def _caller(tenant: str) -> Caller:
    return Caller(user_id="ada", tenant_id=tenant, capabilities=frozenset({"*"}), jti="", exp=0)


async def _tenant(platform: Platform) -> str:
    tenant = f"t-{uuid4().hex[:10]}"
    await ensure_tenant(platform.system_db, tenant, platform.settings.capsules_dir)
    return tenant


async def _installation(platform: Platform, tenant: str, environment: str = "test") -> InstallationRef:
    """An installation that nobody drives: its order stays in the outbox."""
    async with platform.app_db.tenant(tenant) as session:
        wanted = NewInstallation(capsule_id="shipped_note", environment=environment)
        row, _ = await install(session, platform.folder, _caller(tenant), wanted)
    return InstallationRef(installation_id=str(row.id), tenant_id=tenant)


async def _state(platform: Platform, tenant: str) -> list[tuple[object, ...]]:
    """Everything of the tenant that an installation touches."""
    found: list[tuple[object, ...]] = []
    for table, statement in _TOUCHED.items():
        found += [(table, *row.values()) for row in await platform.owner_sql(statement, tenant)]
    return found


async def _twice(platform: Platform, tenant: str, *acts: Callable[[], Awaitable[object]]) -> None:
    for act in acts:
        await act()
        once = await _state(platform, tenant)
        await act()
        assert await _state(platform, tenant) == once


async def test_every_step_of_an_installation_and_its_undoing(idle_platform: Platform) -> None:
    tenant = await _tenant(idle_platform)
    activities = PostgresInstallationActivities(idle_platform.app_db, idle_platform.system_db, idle_platform.folder)
    ref = await _installation(idle_platform, tenant)
    before = [row for row in await _state(idle_platform, tenant) if row[0] != "outbox"]
    forward = [
        activities.verify_attestation,
        activities.check_scope,
        activities.check_tools,
        activities.reserve_namespace,
        activities.reserve_budget,
        activities.activate,
    ]
    backward = [activities.deactivate, activities.restore_budget, activities.release_namespace]
    await _twice(idle_platform, tenant, *(lambda act=act: act(ref) for act in [*forward, *backward]))
    undone = [row for row in await _state(idle_platform, tenant) if row[0] != "outbox"]
    assert [row for row in undone if row[0] != "notifications"] == before
    failed = FailedInstallation(
        installation=ref, failure=InstallationFailure(code="capsule_recalled", detail="It was recalled.")
    )
    await _twice(idle_platform, tenant, lambda: activities.fail(failed))


async def test_every_step_of_a_review(idle_platform: Platform) -> None:
    tenant = await _tenant(idle_platform)
    activities = PostgresReviewActivities(idle_platform.app_db, idle_platform.folder)
    async with idle_platform.app_db.tenant(tenant) as session:
        new = NewSubmission.model_validate(submission(capsule()))
        row, _ = await submit(session, idle_platform.folder, _caller(tenant), new)
    ref = SubmissionRef(submission_id=str(row.id), tenant_id=tenant)
    report = await activities.check(CheckRequest(submission=ref, check=Check.LINT))
    stored = FindingsReport(submission=ref, revision=report.revision, findings=report.findings)
    reminder = Reminder(submission=ref, revision=1, number=1)
    vote = Vote(vote_id=str(uuid4()), revision=1, reviewer="ben", decision=Decision.APPROVE)
    order = VoteOrder(submission=ref, vote=vote)
    await _twice(
        idle_platform,
        tenant,
        lambda: activities.store_findings(stored),
        lambda: activities.remind(reminder),
        lambda: activities.record_vote(order),
        lambda: activities.expire(ref),
    )
    again: ReviewSnapshot = await activities.record_vote(order)
    assert (again.status, again.approvals) == (SubmissionStatus.APPROVED, ("ben",))
    assert again.deadline - row.deadline == timedelta(0)
    votes = await idle_platform.owner_sql("SELECT id FROM review_votes WHERE submission_id = $1", UUID(str(row.id)))
    assert len(votes) == 1

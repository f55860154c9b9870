"""Proposals over days, on Temporal's time-skipping server and a real Postgres."""

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

from somagent.adapters.postgres.database import Database
from somagent.adapters.postgres.tables import SigningKey
from somagent.adapters.temporal.client import SOMA_STATUS
from somagent.domain.caller import Caller
from somagent.domain.messages.constitution import (
    CAST_VOTE,
    PROPOSAL_CLOSED,
    Ballot,
    BallotDecision,
    ProposalClosed,
    ProposalSnapshot,
    ProposalStatus,
)
from somagent.domain.messages.constitution_state import ProposalState
from somagent.domain.messages.orders import WorkflowOrder
from somagent.services.constitution.proposals import NewProposal, propose, withdraw
from somagent.services.starter import WORKFLOW_QUEUE
from somagent.services.tenants import ensure_tenant
from somagent.tests.capsules.platform import Addresses, databases
from somagent.tests.constitution.conftest import workers
from somagent.tests.constitution.documents import Signer, content
from somagent.tests.skipping import start_skipping
from somagent.workflows.constitution_update import ConstitutionUpdateWorkflow


@dataclass(frozen=True, slots=True)
class Clock:
    """A proposal under a clock that can be moved."""

    environment: WorkflowEnvironment
    app_db: Database
    owner_db: Database
    handle: WorkflowHandle[ConstitutionUpdateWorkflow, ProposalState]
    proposal_id: UUID
    caller: Caller

    async def row(self) -> Any:
        """The proposal as Postgres has it."""
        return await self.owner_db.pool.fetchrow("SELECT * FROM constitution_proposals WHERE id = $1", self.proposal_id)

    async def reminders(self) -> int:
        """How often the approvers were reminded."""
        query = "SELECT count(*) FROM notifications WHERE effect_key LIKE $1"
        return int(await self.owner_db.pool.fetchval(query, f"constitution-{self.proposal_id}:reminder:%"))

    async def closed(self) -> datetime:
        """When the workflow ended, by its own clock."""
        description = await self.handle.describe()
        assert description.close_time is not None
        return description.close_time

    async def approve(self, voter: str) -> ProposalSnapshot:
        """A vote, as the API casts it."""
        ballot = Ballot(voter=voter, decision=BallotDecision.APPROVE, ready=True)
        counted: ProposalSnapshot = await self.handle.execute_update(CAST_VOTE, ballot, result_type=ProposalSnapshot)
        return counted

    async def versions(self) -> int:
        """How many constitutions of its own the tenant has."""
        query = "SELECT count(*) FROM constitutions WHERE tenant_id = $1"
        return int(await self.owner_db.pool.fetchval(query, self.caller.tenant_id))


@pytest.fixture
async def clock(addresses: Addresses, time_skipping_server: Path, tmp_path: Path) -> AsyncIterator[Clock]:
    """A proposal whose workflow has begun."""
    tenant, signer = f"t-{uuid4().hex[:10]}", Signer()
    caller = Caller(user_id="ada", tenant_id=tenant, capabilities=frozenset({"*"}), jti="", exp=0)
    environment = await start_skipping(time_skipping_server)
    async with (
        environment,
        databases(addresses) as (app_db, system_db, owner_db),
        workers(environment.client, app_db),
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
            session.add(
                SigningKey(
                    tenant_id=tenant, label="", created_by="ada", created_at=datetime.now(UTC), **signer.registration
                )
            )
            await session.flush()
            new = NewProposal.model_validate(signer.signed(content(2)))
            row, recorded = await propose(session, caller, new)
        assert isinstance(recorded.order, WorkflowOrder)
        handle = await environment.client.start_workflow(
            ConstitutionUpdateWorkflow.run,
            ProposalState.model_validate(recorded.order.argument),
            id=row.workflow_id,
            task_queue=WORKFLOW_QUEUE,
        )
        yield Clock(environment, app_db, owner_db, handle, row.id, caller)


async def test_half_approved_it_expires_after_fourteen_days(clock: Clock) -> None:
    began = await clock.environment.get_current_time()
    await clock.environment.sleep(timedelta(days=1))
    assert (await clock.approve("ben")).status is ProposalStatus.PENDING
    state = await clock.handle.result()
    assert (state.status, state.approvals) == (ProposalStatus.EXPIRED, ("ben",))
    assert timedelta(days=13, hours=23) < await clock.closed() - began < timedelta(days=14, hours=1)
    row = await clock.row()
    assert row["status"] == "expired"
    assert row["decided_at"] is not None
    assert await clock.versions() == 0
    assert await clock.reminders() in (12, 13)


async def test_votes_days_apart_count_together(clock: Clock) -> None:
    await clock.environment.sleep(timedelta(days=3))
    assert (await clock.approve("ben")).status is ProposalStatus.PENDING
    await clock.environment.sleep(timedelta(days=10))
    assert (await clock.approve("cyd")).status is ProposalStatus.ACTIVATED
    state = await clock.handle.result()
    assert (state.status, state.approvals) == (ProposalStatus.ACTIVATED, ("ben", "cyd"))
    assert await clock.versions() == 1


async def test_a_withdrawal_ends_it(clock: Clock) -> None:
    await clock.environment.sleep(timedelta(days=2))
    async with clock.app_db.tenant(clock.caller.tenant_id) as session:
        await withdraw(session, clock.caller, clock.proposal_id)
    await clock.handle.signal(PROPOSAL_CLOSED, ProposalClosed(status=ProposalStatus.WITHDRAWN))
    assert (await clock.handle.result()).status is ProposalStatus.WITHDRAWN


async def test_a_lost_withdrawal_is_noticed_within_a_day(clock: Clock) -> None:
    await clock.environment.sleep(timedelta(hours=1))
    async with clock.app_db.tenant(clock.caller.tenant_id) as session:
        await withdraw(session, clock.caller, clock.proposal_id)
    began = await clock.environment.get_current_time()
    assert (await clock.handle.result()).status is ProposalStatus.WITHDRAWN
    assert await clock.closed() - began < timedelta(days=1)
    assert await clock.reminders() == 0

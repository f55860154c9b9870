"""Proposals of constitutions: each activity is one unit of work of the tenant."""

from __future__ import annotations

from temporalio import activity

from somagent.activities.failures import translated
from somagent.adapters.postgres.database import Database
from somagent.domain.messages.constitution import BallotOrder, ProposalRef, ProposalReminder, ProposalSnapshot
from somagent.services.constitution import deciding
from somagent.workflows.ports.constitution import EXAMINE, EXPIRE, RECORD_BALLOT, REMIND, ConstitutionActivities


class PostgresConstitutionActivities(ConstitutionActivities):
    """The port, on Postgres."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @activity.defn(name=EXAMINE)
    async def examine(self, proposal: ProposalRef) -> ProposalSnapshot:
        """Examine the proposal."""
        with translated():
            async with self._database.tenant(proposal.tenant_id) as session:
                return await deciding.store_findings(session, proposal)

    @activity.defn(name=RECORD_BALLOT)
    async def record_ballot(self, order: BallotOrder) -> ProposalSnapshot:
        """Count a vote."""
        with translated():
            async with self._database.tenant(order.proposal.tenant_id) as session:
                return await deciding.record_ballot(session, order)

    @activity.defn(name=REMIND)
    async def remind(self, reminder: ProposalReminder) -> ProposalSnapshot:
        """Remind the approvers."""
        with translated():
            async with self._database.tenant(reminder.proposal.tenant_id) as session:
                return await deciding.remind(session, reminder)

    @activity.defn(name=EXPIRE)
    async def expire(self, proposal: ProposalRef) -> ProposalSnapshot:
        """Let the proposal expire."""
        with translated():
            async with self._database.tenant(proposal.tenant_id) as session:
                return await deciding.expire(session, proposal)

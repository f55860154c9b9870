"""Installations: each activity is one unit of work of the installing tenant, on its locked row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession
from temporalio import activity

from somagent.activities.failures import translated
from somagent.adapters.capsules_folder import CapsulesFolder
from somagent.adapters.postgres.database import Database
from somagent.adapters.postgres.tables import Installation
from somagent.domain.messages.installation import FailedInstallation, InstallationRef
from somagent.services.capsules import holdings, installing
from somagent.workflows.ports import installation as port


class PostgresInstallationActivities(port.InstallationActivities):
    """The port, on Postgres. ``system``: the publisher's submission and keys are another tenant's."""

    def __init__(self, database: Database, system: Database, folder: CapsulesFolder) -> None:
        self._database = database
        self._system = system
        self._folder = folder

    @activity.defn(name=port.VERIFY_ATTESTATION)
    async def verify_attestation(self, installation: InstallationRef) -> None:
        """Check hash, signature and approval again."""
        async with self._row(installation) as (_, row), self._system.system() as system:
            await installing.verify_attestation(system, self._folder, row)

    @activity.defn(name=port.CHECK_SCOPE)
    async def check_scope(self, installation: InstallationRef) -> None:
        """Check that the capsule is meant for this tenant."""
        async with self._row(installation) as (_, row), self._system.system() as system:
            await installing.check_scope(system, row)

    @activity.defn(name=port.CHECK_TOOLS)
    async def check_tools(self, installation: InstallationRef) -> None:
        """Check that the tenant allows the capsule's adapters."""
        async with self._row(installation) as (session, row):
            await installing.check_tools(session, row)

    @activity.defn(name=port.RESERVE_NAMESPACE)
    async def reserve_namespace(self, installation: InstallationRef) -> None:
        """Take the memory namespace."""
        async with self._row(installation) as (session, row):
            await holdings.take_namespace(session, row)

    @activity.defn(name=port.RELEASE_NAMESPACE)
    async def release_namespace(self, installation: InstallationRef) -> None:
        """Give the memory namespace back."""
        async with self._row(installation) as (session, row):
            await holdings.release_own_namespace(session, row)

    @activity.defn(name=port.RESERVE_BUDGET)
    async def reserve_budget(self, installation: InstallationRef) -> None:
        """Write the budget row."""
        async with self._row(installation) as (session, row):
            await holdings.set_budget(session, row)

    @activity.defn(name=port.RESTORE_BUDGET)
    async def restore_budget(self, installation: InstallationRef) -> None:
        """Give the budget row back."""
        async with self._row(installation) as (session, row):
            await installing.undo_budget(session, row)

    @activity.defn(name=port.ACTIVATE)
    async def activate(self, installation: InstallationRef) -> None:
        """Make this the version in force."""
        async with self._row(installation) as (session, row):
            await installing.activate(session, row)

    @activity.defn(name=port.DEACTIVATE)
    async def deactivate(self, installation: InstallationRef) -> None:
        """Put the earlier version in force again."""
        async with self._row(installation) as (session, row):
            await installing.deactivate(session, row)

    @activity.defn(name=port.FAIL)
    async def fail(self, failed: FailedInstallation) -> None:
        """Mark the installation as failed."""
        async with self._row(failed.installation) as (session, row):
            await installing.fail(session, row, failed.failure)

    @asynccontextmanager
    async def _row(self, installation: InstallationRef) -> AsyncIterator[tuple[AsyncSession, Installation]]:
        with translated():
            async with self._database.tenant(installation.tenant_id) as session:
                yield session, await installing.load(session, installation, lock=True)

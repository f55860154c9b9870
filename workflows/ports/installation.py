"""What an installation asks of Postgres: each step, and what undoes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import timedelta

from temporalio import activity
from temporalio.common import RetryPolicy

from somagent.domain.messages.installation import FailedInstallation, InstallationRef
from somagent.workflows.ports.options import CallOptions

VERIFY_ATTESTATION = "capsule_installation.verify_attestation"
CHECK_SCOPE = "capsule_installation.check_scope"
CHECK_TOOLS = "capsule_installation.check_tools"
RESERVE_NAMESPACE = "capsule_installation.reserve_namespace"
RELEASE_NAMESPACE = "capsule_installation.release_namespace"
RESERVE_BUDGET = "capsule_installation.reserve_budget"
RESTORE_BUDGET = "capsule_installation.restore_budget"
ACTIVATE = "capsule_installation.activate"
DEACTIVATE = "capsule_installation.deactivate"
FAIL = "capsule_installation.fail"

# An installation waits for Postgres as long as it takes: half an installation is worse than a late one.
INSTALLATION_ACTIVITY = CallOptions(
    task_queue="soma-activities",
    start_to_close_timeout=timedelta(seconds=20),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=200), backoff_coefficient=2, maximum_interval=timedelta(seconds=30)
    ),
)


class InstallationActivities(ABC):
    """Each is one transaction, and the same again when it is repeated.

    The three checks change nothing, so nothing undoes them.
    """

    @activity.defn(name=VERIFY_ATTESTATION)
    @abstractmethod
    async def verify_attestation(self, installation: InstallationRef) -> None:
        """Check the hash and, where there is one, the signature again, and that nothing was recalled.

        Raises:
            ApplicationError: type ``attestation_mismatch``, ``signature_invalid``, ``capsule_not_approved`` or
                ``capsule_recalled``.
        """

    @activity.defn(name=CHECK_SCOPE)
    @abstractmethod
    async def check_scope(self, installation: InstallationRef) -> None:
        """Check that the capsule is meant for this tenant: ``tenant_scope_mismatch``."""

    @activity.defn(name=CHECK_TOOLS)
    @abstractmethod
    async def check_tools(self, installation: InstallationRef) -> None:
        """Check that the tenant allows every adapter that the capsule declares: ``tool_not_allowed``."""

    @activity.defn(name=RESERVE_NAMESPACE)
    @abstractmethod
    async def reserve_namespace(self, installation: InstallationRef) -> None:
        """Take the capsule's memory namespace: ``namespace_conflict`` when somebody else has it."""

    @activity.defn(name=RELEASE_NAMESPACE)
    @abstractmethod
    async def release_namespace(self, installation: InstallationRef) -> None:
        """Undo ``reserve_namespace``; a namespace that an earlier version made stays."""

    @activity.defn(name=RESERVE_BUDGET)
    @abstractmethod
    async def reserve_budget(self, installation: InstallationRef) -> None:
        """Write the capsule's budget row: ``budget_above_limit`` when it exceeds the tenant's."""

    @activity.defn(name=RESTORE_BUDGET)
    @abstractmethod
    async def restore_budget(self, installation: InstallationRef) -> None:
        """Undo ``reserve_budget``: the earlier version's row, or none."""

    @activity.defn(name=ACTIVATE)
    @abstractmethod
    async def activate(self, installation: InstallationRef) -> None:
        """Make this the installed version and the one before it superseded."""

    @activity.defn(name=DEACTIVATE)
    @abstractmethod
    async def deactivate(self, installation: InstallationRef) -> None:
        """Undo ``activate``: the earlier version is the installed one again."""

    @activity.defn(name=FAIL)
    @abstractmethod
    async def fail(self, failed: FailedInstallation) -> None:
        """Mark the installation as failed, say why, and tell who asked for it."""

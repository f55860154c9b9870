"""What a capsule's installation workflow and its activities tell each other."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import ConfigDict

from somagent.domain.model import Model

INSTALLATION_WORKFLOW: Final = "CapsuleInstallationWorkflow"


class InstallationStatus(StrEnum):
    """Where an installation stands. At most one of a capsule in an environment is installed or quarantined."""

    INSTALLING = "installing"
    INSTALLED = "installed"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    ROLLED_BACK = "rolled_back"
    UNINSTALLED = "uninstalled"
    QUARANTINED = "quarantined"


class InstallationStep(StrEnum):
    """The steps of an installation, in the order in which they are taken."""

    VERIFY_ATTESTATION = "verify_attestation"
    CHECK_SCOPE = "check_scope"
    CHECK_TOOLS = "check_tools"
    RESERVE_NAMESPACE = "reserve_namespace"
    RESERVE_BUDGET = "reserve_budget"
    ACTIVATE = "activate"


class InstallationRef(Model):
    """An installation, and whose it is."""

    installation_id: str
    tenant_id: str


class InstallationFailure(Model):
    """Why an installation failed: a stable code and a sentence; and the step, where one did."""

    code: str
    detail: str
    step: InstallationStep | None = None


class FailedInstallation(Model):
    """An installation to be marked as failed, after everything was undone."""

    installation: InstallationRef
    failure: InstallationFailure


class InstallationState(Model):
    """All that an installation workflow knows; its argument, too.

    Attributes:
        begun: steps whose effect may be there, and so have to be undone on failure.
        cancelled: whether somebody asked to stop; looked at between steps.
    """

    model_config = ConfigDict(frozen=False, extra="forbid")

    installation_id: str
    tenant_id: str
    capsule_id: str
    version: str
    environment: str
    begun: tuple[InstallationStep, ...] = ()
    cancelled: bool = False
    status: InstallationStatus = InstallationStatus.INSTALLING

    @property
    def ref(self) -> InstallationRef:
        """The installation this is about."""
        return InstallationRef(installation_id=self.installation_id, tenant_id=self.tenant_id)


class InstallationResult(Model):
    """How an installation ended."""

    installation_id: str
    status: InstallationStatus

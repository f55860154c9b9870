"""Deployment modes: how strict, how frugal and how talkative a tenant's part of the deployment is."""

from __future__ import annotations

from enum import StrEnum


class DeploymentMode(StrEnum):
    """The modes of contract section 7."""

    DEVELOPER_LIGHT = "developer-light"
    DEVELOPER_FULL = "developer-full"
    TEST = "test"
    TEST_DEBUG = "test-debug"
    PRODUCTION = "production"
    PRODUCTION_DEBUG = "production-debug"

    @property
    def is_production(self) -> bool:
        """Whether the production threshold and weights are in force."""
        return self in (DeploymentMode.PRODUCTION, DeploymentMode.PRODUCTION_DEBUG)

    @property
    def is_debug(self) -> bool:
        """Whether every verdict is logged with its features."""
        return self in (DeploymentMode.TEST_DEBUG, DeploymentMode.PRODUCTION_DEBUG, DeploymentMode.DEVELOPER_FULL)

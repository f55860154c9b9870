"""Deployment modes: how strict, how frugal and how talkative a tenant's part of the deployment is."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from somagent.domain.model import Model


class RoutingWeights(Model):
    """What a model's score is made of: each term is normalised over the candidates (contract, section 6)."""

    quality: float = 0.4
    cost: float = 0.2
    """Of 1/cost."""
    latency: float = 0.2
    """Of 1/latency."""
    reliability: float = 0.2


_PRODUCTION: Final = RoutingWeights(quality=0.45, cost=0.1, latency=0.15, reliability=0.3)
_DEVELOPER: Final = RoutingWeights(quality=0.25, cost=0.4, latency=0.25, reliability=0.1)
_USUAL: Final = RoutingWeights()

VerdictLogging = Literal["every", "refusals"]
LogLevel = Literal["debug", "info", "warning", "error"]


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

    @property
    def routing_weights(self) -> RoutingWeights:
        """How much quality, cost, latency and reliability count when a model is chosen."""
        if self.is_production:
            return _PRODUCTION
        return _DEVELOPER if self in (DeploymentMode.DEVELOPER_LIGHT, DeploymentMode.DEVELOPER_FULL) else _USUAL

    @property
    def verdict_logging(self) -> VerdictLogging:
        """Which verdicts are logged, each with its features."""
        return "every" if self.is_debug else "refusals"

    @property
    def log_level(self) -> LogLevel:
        """From which level up a process logs that was given no level of its own."""
        if self.is_debug:
            return "debug"
        return "warning" if self.is_production else "info"

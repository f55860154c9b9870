"""The topics that tell what has happened. Nobody has to take anything off them; whoever wants follows them."""

from __future__ import annotations

from typing import Final

EVENTS: Final = (
    "slm.metrics", "agent.audit", "constitution.updated", "policy.decisions", "gateway.audit", "identity.audit",
    "tool.events", "project.events", "notifications.events", "settings.changed", "mode.changed",
    "model.fallback.used", "billing.events", "training.audit",
)  # fmt: skip
"""Every topic of the contract but those of the work queue (slm.requests, slm.responses, slm.dead)."""

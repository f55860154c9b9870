"""Conversations through the gate."""

from __future__ import annotations

from somagent.api.deps import soma_router

router = soma_router("orchestrator")

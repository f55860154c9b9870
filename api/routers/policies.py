"""Verdicts and rules."""

from __future__ import annotations

from somagent.api.deps import soma_router

router = soma_router("policy-engine")

"""Constitutions: what is in force, proposals, votes, rehearsal."""

from __future__ import annotations

from somagent.api.deps import soma_router

router = soma_router("constitution")

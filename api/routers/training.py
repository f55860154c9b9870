"""Training sessions: who may change what agents are made of."""

from __future__ import annotations

from somagent.api.deps import soma_router

router = soma_router("identity")

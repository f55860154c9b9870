"""Users and their API keys and second factors."""

from __future__ import annotations

from somagent.api.deps import soma_router

router = soma_router("identity")

"""The kill switch."""

from __future__ import annotations

from somagent.api.deps import soma_router

router = soma_router("policy-engine")

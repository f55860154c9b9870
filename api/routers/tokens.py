"""Tokens: issued, verified, revoked; login by OpenID Connect."""

from __future__ import annotations

from somagent.api.deps import soma_router

router = soma_router("identity")

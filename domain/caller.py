"""Who asks: what a verified token says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """A person or program, acting for one tenant.

    Attributes:
        user_id: the token's ``sub``.
        tenant_id: the tenant acted for; the token's own, or with ``tenant:any`` the one that X-Tenant-ID names.
        capabilities: as the token lists them; ask with :func:`somagent.domain.capabilities.holds`.
        jti: the token's id.
        exp: when the token ends, in seconds since the epoch.
        iat: when the token was issued, in seconds since the epoch.
        visiting: acts for a tenant that is not the token's own: users of that tenant are other people, even where
            an id is the same.
    """

    user_id: str
    tenant_id: str
    capabilities: frozenset[str]
    jti: str
    exp: int
    iat: int = 0
    visiting: bool = False

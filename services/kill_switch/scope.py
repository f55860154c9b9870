"""What a kill switch is set on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ScopeName = Literal["global", "tenant", "capsule", "run"]


@dataclass(frozen=True, slots=True)
class Scope:
    """Everything, a tenant, a capsule of a tenant, or a run of a tenant: a job, a session, a KAMACHIQ run.

    Attributes:
        tenant_id: whose; empty for everything.
        target: the tenant, capsule or run; empty for everything.
    """

    name: ScopeName
    tenant_id: str = ""
    target: str = ""

    @property
    def object(self) -> str:
        """How audit names it."""
        return f"{self.name}:{self.target}" if self.target else self.name

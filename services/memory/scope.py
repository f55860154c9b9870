"""Where a search looks."""

from __future__ import annotations

from dataclasses import dataclass, field

import orjson

from somagent.domain.memory.filters import RecallFilters
from somagent.domain.memory.items import clean


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to search. Without a namespace: everything that the tenant remembers."""

    tenant_id: str
    namespace: str | None = None
    filters: RecallFilters = field(default_factory=RecallFilters)

    def arguments(self) -> tuple[object, ...]:
        """The first parameters of every search statement."""
        filters = self.filters
        return (
            self.tenant_id,
            self.namespace,
            [clean(tag) for tag in filters.tags] or None,
            clean(orjson.dumps(filters.metadata).decode()) if filters.metadata else None,
            filters.source,
            clean(filters.key_prefix) if filters.key_prefix else None,
        )

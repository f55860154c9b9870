"""The policy rules of every tenant, ready to be matched."""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from somagent.domain.policy.rules import RuleSet


class Rules:
    """Rules by tenant."""

    kind = "rules"

    def __init__(self) -> None:
        self._by_tenant: Mapping[str, RuleSet] = {}
        self._documents: Mapping[str, list[str]] = {}

    async def load(self, connection: asyncpg.Connection) -> None:
        rows = await connection.fetch("SELECT tenant_id, name, rule::text AS rule FROM policy_rules ORDER BY name")
        documents: dict[str, list[str]] = {}
        for row in rows:
            documents.setdefault(row["tenant_id"], []).append(row["rule"])
        self._by_tenant = {tenant_id: self._prepared(tenant_id, rules) for tenant_id, rules in documents.items()}
        self._documents = documents

    def of(self, tenant_id: str) -> RuleSet:
        """The tenant's rules; an empty set where its people wrote none."""
        return self._by_tenant.get(tenant_id, RuleSet.EMPTY)

    def _prepared(self, tenant_id: str, rules: list[str]) -> RuleSet:
        """Sets of other tenants stay as they are: their patterns are compiled already."""
        known = self._by_tenant.get(tenant_id)
        return known if known is not None and self._documents.get(tenant_id) == rules else RuleSet.parse(rules)

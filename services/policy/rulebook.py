"""Writing a tenant's rules. Who changed them calls for a fresh look of the gate after the commit."""

from __future__ import annotations

from typing import Annotated

import asyncpg
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.domain.policy.rules import MOST_RULES, Rule
from somagent.services.audit.intake import by, take_in

_INSERT = (
    "INSERT INTO policy_rules (tenant_id, name, rule, created_by, created_at) "
    "VALUES ($1, $2, $3::text::jsonb, $4, clock_timestamp()) ON CONFLICT DO NOTHING RETURNING 1"
)


class NewRules(Model):
    """Every rule that is to be in force."""

    rules: Annotated[list[Rule], Field(max_length=MOST_RULES)]

    @field_validator("rules")
    @classmethod
    def _names_are_unique(cls, rules: list[Rule]) -> list[Rule]:
        names = [rule.name for rule in rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise PydanticCustomError("rule_exists", "each name stands once, {names} stands more often",
                                      {"names": ", ".join(twice)})  # fmt: skip
        return rules


async def add(connection: asyncpg.Connection, caller: Caller, rule: Rule) -> None:
    """Add a rule in the caller's transaction.

    Raises:
        SomaError: ``rule_exists``; ``validation_failed`` past the most rules that a tenant can have.
    """
    await _one_writer(connection, caller.tenant_id)
    count = await connection.fetchval("SELECT count(*) FROM policy_rules WHERE tenant_id = $1", caller.tenant_id)
    if await _insert(connection, caller, rule) is None:
        raise SomaError(Code.RULE_EXISTS, f"There is a rule {rule.name} already. Choose another name, or delete it.")
    if count >= MOST_RULES:
        raise SomaError(Code.VALIDATION_FAILED, f"A tenant has {MOST_RULES} rules at most. Delete one first.")
    await _audit(connection, caller, "policy.rule.added", f"rule:{rule.name}", [rule])


async def replace_all(connection: asyncpg.Connection, caller: Caller, new: NewRules) -> None:
    """Put these rules in the place of all others, in the caller's transaction."""
    await _one_writer(connection, caller.tenant_id)
    await connection.execute("DELETE FROM policy_rules WHERE tenant_id = $1", caller.tenant_id)
    for rule in new.rules:
        await _insert(connection, caller, rule)
    await _audit(connection, caller, "policy.rules.replaced", f"tenant:{caller.tenant_id}", new.rules)


async def remove(connection: asyncpg.Connection, caller: Caller, name: str) -> None:
    """Delete a rule in the caller's transaction.

    Raises:
        SomaError: ``not_found``.
    """
    await _one_writer(connection, caller.tenant_id)
    gone = await connection.fetchval(
        "DELETE FROM policy_rules WHERE tenant_id = $1 AND name = $2 RETURNING 1", caller.tenant_id, name
    )
    if gone is None:
        raise SomaError(Code.NOT_FOUND, "There is no such rule.")
    await _audit(connection, caller, "policy.rule.removed", f"rule:{name}", [])


async def _insert(connection: asyncpg.Connection, caller: Caller, rule: Rule) -> object:
    document = rule.model_dump_json()
    return await connection.fetchval(_INSERT, caller.tenant_id, rule.name, document, caller.user_id)


async def _one_writer(connection: asyncpg.Connection, tenant_id: str) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('rules:' || $1, 0))", tenant_id)


async def _audit(connection: asyncpg.Connection, caller: Caller, action: str, object_: str, rules: list[Rule]) -> None:
    detail = {"rules": [{"name": rule.name, "weight": rule.weight, "hard": rule.hard} for rule in rules]}
    await take_in(connection, by(caller, action, object_, topic="settings.changed", detail=detail))

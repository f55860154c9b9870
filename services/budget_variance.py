"""How far a run has gone over its budget."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import asyncpg

from somagent.domain.actions.remote import AnalyseBudgetOutput, AnalyseBudgetParams
from somagent.domain.errors import Code, SomaError

_SPENDING: Final = "SELECT budget_tokens, spent_tokens FROM jobs WHERE tenant_id = $1 AND id = $2"


async def analyse_budget(
    connection: asyncpg.Connection, tenant_id: str, params: AnalyseBudgetParams
) -> AnalyseBudgetOutput:
    """The variance of a job's spending, in percent of its budget.

    Raises:
        SomaError: ``not_found``, when the tenant has no such run.
    """
    row = await connection.fetchrow(_SPENDING, tenant_id, _run_id(params.run))
    if row is None:
        raise _unknown(params.run)
    variance = variance_percent(row["spent_tokens"], row["budget_tokens"])
    return AnalyseBudgetOutput(variance_percent=variance, within=variance <= params.max_variance_percent)


def variance_percent(spent: int, budget: int) -> float:
    """max(0, (spent − budget)/budget · 100); spending less costs nothing. A budget of 0 counts as one token."""
    return max(0.0, (spent - budget) / max(1, budget) * 100.0)


def _run_id(run: str) -> UUID:
    try:
        return UUID(run)
    except ValueError:
        raise _unknown(run) from None


def _unknown(run: str) -> SomaError:
    return SomaError(Code.NOT_FOUND, f"There is no run {run[:100]!r}. Give the id of a job of this tenant.")

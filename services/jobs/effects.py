"""Doing what a step says, once its parameters, verdict and budget are settled.

An effect in Postgres takes the step's own connection, so that it and the step's row are one transaction. Every other
effect goes through the tool of its adapter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import asyncpg
from pydantic import BaseModel, JsonValue

from somagent.adapters.metrics import tool_adapter_execution_latency_seconds, tool_adapter_executions_total
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.registry import ToolRegistry
from somagent.domain.actions import ActionSpec
from somagent.services.jobs.store import JobState


@dataclass(frozen=True, slots=True)
class Act:
    """One step about to happen."""

    spec: ActionSpec
    params: BaseModel
    job: JobState
    step_id: str
    context: ToolContext
    verdict: JsonValue = None


class RecordedEffect(Protocol):
    """An adapter whose effect is rows in Postgres."""

    async def execute(self, connection: asyncpg.Connection, act: Act) -> BaseModel:
        """Apply the effect within the caller's transaction."""
        ...


class Effects:
    """Every action's implementation."""

    def __init__(self, tools: ToolRegistry, recorded: Mapping[str, RecordedEffect]) -> None:
        self._tools = tools
        self._recorded = recorded

    def is_recorded(self, spec: ActionSpec) -> bool:
        """Whether the effect belongs into the step's own transaction."""
        return spec.adapter in self._recorded

    async def apply(self, connection: asyncpg.Connection | None, act: Act) -> BaseModel:
        """Do it.

        Raises:
            SomaError: with the code of what went wrong.
        """
        status, started = "failed", time.perf_counter()
        try:
            output = await self._apply(connection, act)
            status = "completed"
            return output
        finally:
            adapter = act.spec.adapter
            tool_adapter_executions_total.labels(adapter, act.spec.verb, status).inc()
            tool_adapter_execution_latency_seconds.labels(adapter).observe(time.perf_counter() - started)

    async def _apply(self, connection: asyncpg.Connection | None, act: Act) -> BaseModel:
        recorded = self._recorded.get(act.spec.adapter)
        if recorded is not None:
            assert connection is not None  # noqa: S101 - the runner gives one to recorded effects
            return await recorded.execute(connection, act)
        return await self._tools.execute(act.spec.name, act.params, act.context)

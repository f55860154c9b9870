"""What an action's implementation is given and owes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel


def _no_heartbeat() -> None:
    return None


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Where and for whom a step runs.

    Attributes:
        effect_key: ``{job}:{step}``, the same over attempts; what makes an outside effect idempotent.
        workspace: the job's own folder, absolute; it exists.
        shares: folder by the name under ``shared/``, read-only.
        attachments: the job's attachments' folder (read-only), or None.
        timeout_seconds: the step's own time limit.
        heartbeat: called at least every few seconds by what takes long.
    """

    tenant_id: str
    job_id: str
    step_id: str
    effect_key: str
    workspace: Path
    shares: Mapping[str, Path] = field(default_factory=dict)
    attachments: Path | None = None
    timeout_seconds: float = 60.0
    heartbeat: Callable[[], None] = _no_heartbeat


class Tool(Protocol):
    """One adapter: it runs the actions of its name.

    ``params`` and the answer are the models that ``somagent.domain.actions`` gives for the action. Raises
    :class:`somagent.domain.errors.SomaError` with the code of what went wrong.
    """

    async def execute(self, verb: str, params: BaseModel, context: ToolContext) -> BaseModel:
        """Run one action to its end."""
        ...

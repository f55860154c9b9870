"""Whether each part of a running stack lives and answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from somagent.deploy.local import health
from somagent.deploy.local.processes import alive
from somagent.deploy.local.state import PartState, StackState
from somagent.domain.model import Model


class PartStatus(Model):
    """One row of ``somagent status``; ``pid`` is None for a part that others run."""

    name: str
    pid: int | None
    url: str
    healthy: bool


def look(state: StackState) -> list[PartStatus]:
    """Asks all parts at the same time."""
    with ThreadPoolExecutor(max_workers=max(1, len(state.parts))) as pool:
        return list(pool.map(_look_at, state.parts))


def _look_at(part: PartState) -> PartStatus:
    living = part.pid is None or alive(part.pid, part.started) is not None
    healthy = living and (not part.probe or not health.fault(part.probe))
    return PartStatus(name=part.name, pid=part.pid, url=part.url, healthy=healthy)

"""The relay: what was recorded and could not be told at once is told now, and told again until it is.

Orders go to Temporal, events to their topics, notifications to their channels, what is to be audited into the chains,
and model requests that nobody answered back into the queue. Jobs that Temporal lost are ordered again. Several relays
may run at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from somagent.services.audit.sealing import Sealer
from somagent.services.kill_switch.sweep import Sweep
from somagent.services.outbox import Outbox
from somagent.services.reconciliation import Reconciliation
from somagent.services.sessions.reconciling import LostSessions
from somagent.workers.notifier import Notifier
from somagent.workers.parts import Parts
from somagent.workers.roles import Role

log = structlog.get_logger(__name__)


class Relay:
    """Runs each duty in a loop of its own, so that one that fails does not hold up the others."""

    def __init__(self, duties: dict[str, tuple[Callable[[], Awaitable[int]], timedelta]]) -> None:
        self._duties = duties
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until stopped."""
        async with asyncio.TaskGroup() as group:
            for name, (duty, pause) in self._duties.items():
                group.create_task(self._repeat(name, duty, pause.total_seconds()))

    async def stop(self, grace_seconds: float) -> None:
        """Finish the round in hand."""
        self._stopping.set()

    async def _repeat(self, name: str, duty: Callable[[], Awaitable[int]], pause: float) -> None:
        failures = 0
        while not self._stopping.is_set():
            done = 0
            try:
                done = await duty()
                failures = 0
            except Exception as error:  # a part is away: wait and try again, for as long as it takes
                failures += 1
                log.warning("relay_duty_failed", duty=name, error=repr(error), failures=failures)
            wait = 0.0 if done else min(pause * 2 ** min(failures, 6), 30.0)
            try:
                await asyncio.wait_for(self._stopping.wait(), timeout=wait or 0.001)
            except TimeoutError:
                continue


def relay_role(parts: Parts) -> Role:
    """Every duty of the relay."""
    outbox = Outbox(parts.system_db, parts.client, parts.queue)
    reconciliation = Reconciliation(parts.system_db, parts.client, parts.queue)
    notifier = Notifier(parts.settings, parts.system_db)
    sweep = Sweep(parts.system_db)
    lost_sessions = LostSessions(parts.system_db, parts.client)
    sealer = Sealer(parts.system_db, parts.keyring)
    return Relay(
        {
            "orders": (outbox.tell_orders, timedelta(seconds=0.5)),
            "events": (outbox.publish_events, timedelta(seconds=0.5)),
            "kill switches": (sweep.look, timedelta(seconds=1)),
            "audit": (sealer.seal_all, timedelta(seconds=0.5)),
            "notifications": (notifier.run_once, timedelta(seconds=1)),
            "lost jobs": (reconciliation.order_lost_jobs, timedelta(seconds=20)),
            "lost sessions": (lost_sessions.look, timedelta(seconds=20)),
            "unanswered requests": (reconciliation.republish_unanswered, timedelta(seconds=20)),
            "housekeeping": (reconciliation.forget_old_keys, timedelta(minutes=10)),
        }
    )

"""Telling Temporal what Postgres already knows: once right after the commit, and again by the relay until it is told.

The order is recorded in the outbox within the caller's transaction. Right after the commit the process that took the
request asks Temporal once, in the background; only when that fails, or the process dies, does the relay find the row.
Asking twice is harmless: workflow ids are deterministic and never reused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import structlog
from temporalio.client import Client
from temporalio.common import Priority, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from somagent.adapters.postgres.database import Database
from somagent.adapters.temporal.client import RPC_TIMEOUT, SOMA_CAPSULE, SOMA_SESSION, SOMA_STATUS, SOMA_TENANT
from somagent.domain.errors import Code, SomaError
from somagent.domain.messages.orders import SignalOrder, WorkflowOrder
from somagent.domain.model import Model

log = structlog.get_logger(__name__)

WORKFLOW_QUEUE = "soma-workflows"
FIRST_LOOK = timedelta(seconds=10)
"""How long the relay leaves an order to the process that recorded it."""
_PAUSES = (0.1, 0.2, 0.4, 0.8)
"""Seconds between looks at a run that is about to close; afterwards the relay looks."""

QUIET = 0.01
"""Seconds without a new order after which a burst is over."""
LONGEST_DELAY = 0.25
"""Seconds that an order waits for that at most."""

_RECORD = """
INSERT INTO outbox (tenant_id, kind, key, payload, available_at)
VALUES ($1, $2, $3, $4::text::jsonb, now() + $5) RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An order in the outbox: told directly after the commit, deleted once told."""

    outbox_id: int
    order: WorkflowOrder | SignalOrder


async def record(
    connection: asyncpg.Connection, order: WorkflowOrder | SignalOrder, *, delay: timedelta = FIRST_LOOK
) -> Recorded:
    """Put ``order`` into the outbox, in the caller's transaction."""
    outbox_id = await connection.fetchval(
        _RECORD, order.tenant_id, order.kind, order.workflow_id, order.model_dump_json(by_alias=True), delay
    )
    return Recorded(outbox_id, order)


async def tell(client: Client, order: WorkflowOrder | SignalOrder) -> None:
    """Ask Temporal to do what ``order`` says; what was done already is success.

    Raises:
        RPCError: Temporal is away, or refuses.
    """
    if isinstance(order, WorkflowOrder):
        await _start(client, order)
        return
    handle = client.get_workflow_handle(order.workflow_id)
    try:
        if order.kind == "workflow.cancel":
            await handle.cancel(rpc_timeout=RPC_TIMEOUT)
        else:
            arguments: Sequence[object] = [] if order.argument is None else [order.argument]
            await handle.signal(order.signal, args=arguments, rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND or not order.missing_ok:
            raise


async def _start(client: Client, order: WorkflowOrder) -> None:
    attributes = [SearchAttributePair(SOMA_TENANT, order.tenant_id), SearchAttributePair(SOMA_STATUS, order.status)]
    if order.capsule:
        attributes.append(SearchAttributePair(SOMA_CAPSULE, order.capsule))
    if order.session:
        attributes.append(SearchAttributePair(SOMA_SESSION, order.session))
    try:
        await client.start_workflow(
            order.workflow,
            order.argument,
            id=order.workflow_id,
            task_queue=WORKFLOW_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE
            if order.may_run_again
            else WorkflowIDReusePolicy.REJECT_DUPLICATE,
            static_summary=order.summary,
            static_details=order.details,
            memo=order.memo,
            search_attributes=TypedSearchAttributes(attributes),
            priority=Priority(
                priority_key=order.priority, fairness_key=order.tenant_id[:64], fairness_weight=order.fairness_weight
            ),
            rpc_timeout=RPC_TIMEOUT,
        )
    except WorkflowAlreadyStartedError:
        log.debug("workflow_already_started", workflow_id=order.workflow_id)
        if order.may_run_again:
            await _see_last_run_off(client, order)


async def _see_last_run_off(client: Client, order: WorkflowOrder) -> None:
    """A job can be retried in the moment between its end in Postgres and its run's end in Temporal.

    Raises:
        SomaError: ``temporal_unavailable``, so that the order is told again.
    """
    described = await client.get_workflow_handle(order.workflow_id).describe(rpc_timeout=RPC_TIMEOUT)
    if await described.memo_value("epoch", default=None) != order.memo.get("epoch"):
        detail = f"The last run of {order.workflow_id} has not closed yet."
        raise SomaError(Code.TEMPORAL_UNAVAILABLE, detail, retry_after=1)


class Starter:
    """Tells recorded orders in the background, a bounded number at once, and forgets those told."""

    def __init__(self, client: Client, database: Database, *, concurrency: int = 3, backlog: int = 1000) -> None:
        self._client = client
        self._database = database
        # One queue a teller, chosen by workflow: a cancellation must not overtake the start before or after it.
        self._queues: list[asyncio.Queue[tuple[float, Recorded]]] = [asyncio.Queue(backlog) for _ in range(concurrency)]
        self._last = 0.0
        self._told: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to tell; call it inside the running loop."""
        self._tasks = [asyncio.create_task(self._tell_all(queue)) for queue in self._queues]
        self._tasks.append(asyncio.create_task(self._forget_all()))

    def submit(self, recorded: Recorded) -> None:
        """Take an order whose transaction has committed. Past the backlog's bound the relay does it."""
        self._last = time.monotonic()
        try:
            queue = self._queues[hash(recorded.order.workflow_id) % len(self._queues)]
            queue.put_nowait((self._last, recorded))
        except asyncio.QueueFull:
            log.info("starter_backlog_full", workflow_id=recorded.order.workflow_id)

    def told(self, recorded: Recorded) -> None:
        """Temporal has been told by somebody else: the order may go."""
        self._told.put_nowait((recorded.order.tenant_id, recorded.outbox_id))

    async def close(self) -> None:
        """Stop; what was not told stays in the outbox."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _tell_all(self, queue: asyncio.Queue[tuple[float, Recorded]]) -> None:
        while True:
            submitted, recorded = await queue.get()
            await self._give_way(submitted)
            try:
                await self._tell(recorded.order)
            except Exception as error:  # the relay asks again: nothing is lost, whatever it was
                log.warning("order_left_to_relay", workflow_id=recorded.order.workflow_id, error=repr(error))
            else:
                self._told.put_nowait((recorded.order.tenant_id, recorded.outbox_id))

    async def _tell(self, order: WorkflowOrder | SignalOrder) -> None:
        for pause in _PAUSES:
            try:
                return await tell(self._client, order)
            except SomaError:
                await asyncio.sleep(pause)
        return await tell(self._client, order)

    async def _give_way(self, submitted: float) -> None:
        """Let a burst be accepted before its workflows are started: both need the same cores."""
        now = time.monotonic()
        while now < submitted + LONGEST_DELAY and now < self._last + QUIET:
            await asyncio.sleep(QUIET / 2)
            now = time.monotonic()

    async def _forget_all(self) -> None:
        while True:
            told = [await self._told.get()]
            await asyncio.sleep(0.05)
            while not self._told.empty() and len(told) < 500:
                told.append(self._told.get_nowait())
            try:
                await self._forget(told)
            except Exception as error:  # told twice is harmless
                log.warning("outbox_not_cleared", error=repr(error))

    async def _forget(self, told: list[tuple[str, int]]) -> None:
        by_tenant: dict[str, list[int]] = {}
        for tenant_id, outbox_id in told:
            by_tenant.setdefault(tenant_id, []).append(outbox_id)
        for tenant_id, ids in by_tenant.items():
            async with self._database.connection(tenant_id) as connection:
                await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", ids)


def argument_of(model: Model) -> dict[str, object]:
    """A workflow's argument as the JSON that the converter of the worker reads back into its model."""
    return model.model_dump(mode="json", by_alias=True, exclude_defaults=True)

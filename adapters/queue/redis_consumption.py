"""One member of a group at work on one Redis stream: read, take over, handle, give back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import structlog
from redis.exceptions import RedisError, ResponseError

from somagent.adapters.queue.port import MAX_DELIVERIES, Burial, Delivery, Handler, Postponed, Undeliverable
from somagent.adapters.queue.redis_stream import WorkStream

_BLOCK_MS: Final = 500
_SCAN_SECONDS: Final = 1.0
_LONGEST_BACKOFF: Final = 5.0
_LONGEST_REASON: Final = 1_000

log = structlog.get_logger(__name__)


class Consumption:
    """Takes at most ``concurrency`` messages at a time, until stopped; see the port for what it promises."""

    def __init__(
        self,
        stream: WorkStream,
        consumer: str,
        handler: Handler,
        concurrency: int,
        on_dead: Burial | None,
        *,
        claim_idle_seconds: float,
    ) -> None:
        self._stream = stream
        self._consumer = consumer
        self._handler = handler
        self._concurrency = concurrency
        self._on_dead = on_dead
        self._claim_idle_ms = int(claim_idle_seconds * 1000)
        self._in_hand: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._finished = asyncio.Event()

    async def run(self) -> None:
        """Works until :meth:`stop`, or until cancelled, which gives back what is in hand."""
        alive = asyncio.create_task(self._stay_alive())
        try:
            await self._take_until_stopped()
        finally:
            await _drop(self._in_hand.values())
            alive.cancel()
            with suppress(asyncio.CancelledError):
                await alive
            with suppress(RedisError, OSError):
                await self._stream.leave(self._consumer)
            self._finished.set()

    async def stop(self, grace_seconds: float) -> None:
        """Takes nothing more; after ``grace_seconds`` what is still in hand is given back unfinished."""
        self._stopping.set()
        self._changed.set()
        hands = list(self._in_hand.values())
        if hands:
            _, late = await asyncio.wait(hands, timeout=grace_seconds)
            await _drop(late)
        await self._finished.wait()

    async def _take_until_stopped(self) -> None:
        failures = 0
        next_scan = 0.0
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            free = self._concurrency - len(self._in_hand)
            if free <= 0:
                self._changed.clear()
                await self._changed.wait()
                continue
            try:
                if clock() >= next_scan:
                    taken = await self._stream.claim(self._consumer, free, self._claim_idle_ms, set(self._in_hand))
                    next_scan = clock() + min(_SCAN_SECONDS, self._claim_idle_ms / 3000)
                    self._start(taken)
                    free -= len(taken)
                if free > 0:
                    self._start(await self._stream.read(self._consumer, free, _BLOCK_MS))
                failures = 0
            except (RedisError, OSError) as error:
                failures += 1
                await self._recover(error, failures)
        if self._in_hand:
            await asyncio.wait(list(self._in_hand.values()))

    async def _recover(self, error: Exception, failures: int) -> None:
        """A wiped Redis lacks the group: make it. One that is away: wait, longer each time."""
        if isinstance(error, ResponseError) and str(error).startswith("NOGROUP"):
            with suppress(RedisError, OSError):
                await self._stream.ensure_group()
            if failures == 1:
                return
        log.warning("queue_unavailable", topic=self._stream.names.topic, error=type(error).__name__, failures=failures)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), min(_LONGEST_BACKOFF, 0.1 * 2 ** min(failures, 6)))

    def _start(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            task = asyncio.create_task(self._work(delivery))
            self._in_hand[delivery.message_id] = task

    async def _work(self, first: Delivery) -> None:
        """Handles a message, then those of its key that wait for it."""
        delivery: Delivery | None = first
        try:
            if await self._stream.admit(self._consumer, first) != "go":
                return
            while delivery is not None:
                following = await self._deliver(delivery)
                self._exchange(delivery, following)
                delivery = following
                if delivery is not None and self._stopping.is_set():
                    await self._give_back(delivery, 0.0, delivery.attempt - 1)
                    return
        except (RedisError, OSError) as error:
            # It stays pending and is taken over by whoever sees it idle; the handler is idempotent.
            log.warning("queue_message_left", message_id=first.message_id, error=type(error).__name__)
        finally:
            self._exchange(delivery or first, None)
            self._in_hand.pop(first.message_id, None)
            self._changed.set()

    def _exchange(self, done: Delivery, following: Delivery | None) -> None:
        task = self._in_hand.pop(done.message_id, None)
        if following is not None and task is not None:
            self._in_hand[following.message_id] = task

    async def _deliver(self, delivery: Delivery) -> Delivery | None:
        """Hands one message over and settles what came of it. Returns the next of its key, if it became ours."""
        if delivery.attempt > MAX_DELIVERIES:
            return await self._bury(delivery, await self._stream.reason(delivery))
        try:
            await self._handler(delivery)
        except asyncio.CancelledError:
            await asyncio.shield(self._give_back(delivery, 0.0, delivery.attempt - 1))
            raise
        except Undeliverable as refusal:
            return await self._bury(delivery, refusal.reason)
        except Postponed as later:
            await self._give_back(delivery, later.seconds, delivery.attempt - 1)
            return None
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
            log.warning("queue_handler_failed", message_id=delivery.message_id, attempt=delivery.attempt, reason=reason)
            if delivery.attempt >= MAX_DELIVERIES:
                return await self._bury(delivery, reason)
            await self._give_back(delivery, 0.5 * 2**delivery.attempt, delivery.attempt, reason)
            return None
        return await self._stream.finish(self._consumer, delivery)

    async def _bury(self, delivery: Delivery, reason: str) -> Delivery | None:
        log.error("queue_dead_letter", message_id=delivery.message_id, key=delivery.key, reason=reason)
        if self._on_dead is not None:
            try:
                await self._on_dead(delivery, reason)
            except Exception as error:
                log.warning(
                    "queue_burial_failed", message_id=delivery.message_id, error=f"{type(error).__name__}: {error}"
                )
                await self._give_back(delivery, 5.0, MAX_DELIVERIES, reason)
                return None
        return await self._stream.finish(self._consumer, delivery, reason or "no reason was given")

    async def _give_back(self, delivery: Delivery, pause_seconds: float, counted: int, reason: str = "") -> None:
        """Redelivered after the pause; Redis knows no pause longer than its claim time."""
        idle_ms = max(0, self._claim_idle_ms - int(pause_seconds * 1000))
        await self._stream.release(self._consumer, delivery, idle_ms, max(0, counted), reason)

    async def _stay_alive(self) -> None:
        while True:
            await asyncio.sleep(self._claim_idle_ms / 3000)
            held = list(self._in_hand)
            if not held:
                continue
            try:
                lost = await self._stream.renew(self._consumer, held)
            except (RedisError, OSError):
                continue  # the loop that takes messages reports the outage
            if lost:
                log.warning("queue_claims_lost", topic=self._stream.names.topic, messages=lost)


async def _drop(hands: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(hands)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

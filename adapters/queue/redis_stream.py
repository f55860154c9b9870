"""One work topic in Redis: a stream, its group, and the keys beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from somagent.adapters.queue import redis_scripts
from somagent.adapters.queue.port import Delivery
from somagent.domain.slm.messages import DeadLetter

_ORDER_SECONDS: Final = 30 * 24 * 3600

Admission = Literal["go", "wait", "lost"]


@dataclass(frozen=True, slots=True)
class StreamNames:
    """The names of a topic's keys."""

    topic: str
    group: str
    dead: str

    def order(self, key: str) -> str:
        """The list of a key's unfinished messages."""
        return f"{self.topic}:order:{key}"

    @property
    def parked(self) -> str:
        """The set of delivered messages that wait for an earlier one."""
        return f"{self.topic}:parked"

    @property
    def reasons(self) -> str:
        """Why each message's last delivery failed."""
        return f"{self.topic}:reasons"


class WorkStream:
    """The operations on a topic that a consumption is made of. All raise redis-py's errors."""

    def __init__(self, redis: Redis, names: StreamNames, dead_kept: int) -> None:
        self._redis = redis
        self.names = names
        self._dead_kept = dead_kept
        self._publish = redis.register_script(redis_scripts.PUBLISH)
        self._admit = redis.register_script(redis_scripts.ADMIT)
        self._finish = redis.register_script(redis_scripts.FINISH)
        self._renew = redis.register_script(redis_scripts.RENEW)
        self._release = redis.register_script(redis_scripts.RELEASE)
        self._leave = redis.register_script(redis_scripts.LEAVE)

    async def publish(self, key: str, value: bytes) -> None:
        """Appends a message, in its key's order."""
        await self._publish(keys=[self.names.topic, self.names.order(key)], args=[key, value, _ORDER_SECONDS])

    async def ensure_group(self) -> None:
        """Makes stream and group where they are missing; a new group sees all that is in the stream."""
        with suppress(ResponseError):  # BUSYGROUP: it exists
            await self._redis.xgroup_create(self.names.topic, self.names.group, id="0", mkstream=True)

    async def read(self, consumer: str, count: int, block_ms: int) -> list[Delivery]:
        """New messages, now owned by ``consumer``; waits for one up to ``block_ms``."""
        answer = await self._redis.xreadgroup(
            self.names.group, consumer, {self.names.topic: ">"}, count=count, block=block_ms
        )
        streams: Iterable[Any] = answer.items() if isinstance(answer, dict) else answer or ()
        entries = [entry for _, batch in streams for entry in _flat(batch)]
        return [self._delivery(message_id, fields, 1) for message_id, fields in entries]

    async def claim(self, consumer: str, count: int, idle_ms: int, held: set[str]) -> list[Delivery]:
        """Up to ``count`` messages whose owners gave no sign for ``idle_ms``, now owned by ``consumer``.

        ``held`` are its own messages in hand, which it must not take from itself.
        """
        pending = await self._redis.xpending_range(
            self.names.topic, self.names.group, "-", "+", count + len(held), idle=idle_ms
        )
        found: list[Delivery] = []
        for entry in pending:
            message_id = _text(entry["message_id"])
            if message_id in held or len(found) >= count:
                continue
            claimed = await self._redis.xclaim(self.names.topic, self.names.group, consumer, idle_ms, [message_id])
            for taken_id, fields in cast(list[tuple[Any, Any]], claimed):
                if fields is not None:
                    found.append(self._delivery(taken_id, fields, int(entry["times_delivered"]) + 1))
                else:  # Redis 6 keeps pending what was deleted from the stream
                    await self._redis.xack(self.names.topic, self.names.group, message_id)
        return found

    async def admit(self, consumer: str, delivery: Delivery) -> Admission:
        """Whether to handle the message now, or to wait for an earlier one of its key, or it is another's."""
        keys = [self.names.topic, self.names.order(delivery.key), self.names.parked]
        answer = await self._admit(keys=keys, args=[self.names.group, consumer, delivery.message_id])
        return cast(Admission, _text(answer))

    async def finish(self, consumer: str, delivery: Delivery, dead_because: str = "") -> Delivery | None:
        """Ends a message, as a dead letter where a reason is given. Returns the next one of its key, if one waited."""
        names = self.names
        letter = self._letter(delivery, dead_because) if dead_because else b""
        answer = await self._finish(
            keys=[names.topic, names.order(delivery.key), names.parked, names.reasons, names.dead],
            args=[names.group, consumer, delivery.message_id, letter, self._dead_kept],
        )
        if not answer:
            return None
        message_id, flat, deliveries = answer
        return self._delivery(message_id, dict(zip(flat[::2], flat[1::2], strict=True)), int(deliveries))

    async def renew(self, consumer: str, message_ids: Sequence[str]) -> list[str]:
        """A sign of life for messages in hand; returns those that another owns by now."""
        lost = await self._renew(keys=[self.names.topic], args=[self.names.group, consumer, *message_ids])
        return [_text(message_id) for message_id in lost]

    async def release(self, consumer: str, delivery: Delivery, idle_ms: int, counted: int, reason: str = "") -> None:
        """Gives a message back: it counts as idle for ``idle_ms`` and as delivered ``counted`` times."""
        await self._release(
            keys=[self.names.topic, self.names.reasons],
            args=[self.names.group, consumer, delivery.message_id, idle_ms, counted, reason],
        )

    async def reason(self, delivery: Delivery) -> str:
        """Why the last delivery failed, as far as it could still say."""
        found = await self._redis.hget(self.names.reasons, delivery.message_id)
        return _text(found) if found else "the process that handled it ended in the middle"

    async def leave(self, consumer: str) -> None:
        """Forgets a consumer that holds nothing any more."""
        await self._leave(keys=[self.names.topic], args=[self.names.group, consumer])

    def _delivery(self, message_id: Any, fields: Any, attempt: int) -> Delivery:
        return Delivery(self.names.topic, _text(fields[b"k"]), fields[b"v"], _text(message_id), attempt)

    def _letter(self, delivery: Delivery, reason: str) -> bytes:
        encoding: Literal["utf-8", "base64"] = "utf-8"
        try:
            text = delivery.value.decode()
        except UnicodeDecodeError:
            text, encoding = base64.b64encode(delivery.value).decode(), "base64"
        letter = DeadLetter(
            topic=delivery.topic,
            message_id=delivery.message_id,
            key=delivery.key,
            deliveries=delivery.attempt,
            reason=reason,
            value=text,
            value_encoding=encoding,
        )
        return letter.model_dump_json().encode()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _flat(entries: Any) -> Iterable[Any]:
    """The entries of one stream, whichever of redis-py's two shapes they come in."""
    if entries and isinstance(entries[0], list):
        return [entry for batch in entries for entry in batch]
    return entries or ()

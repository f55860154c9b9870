"""A work queue: each message is handled by one member of a group, at least once, and given up after some deliveries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

MAX_DELIVERIES = 5


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message handed to a handler.

    Attributes:
        message_id: the broker's own id of the message.
        attempt: 1 for the first delivery; more after a handler failed or its process died.
    """

    topic: str
    key: str
    value: bytes
    message_id: str
    attempt: int


class Undeliverable(Exception):
    """Raised by a handler: the message can never be handled. It goes to the dead letters at once.

    Args:
        reason: for people; kept with the dead letter, so never a secret.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Postponed(Exception):
    """Raised by a handler: not now, and through no fault of the message. The delivery does not count.

    Args:
        seconds: after which the message is delivered again, here or elsewhere.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again in {seconds} s")
        self.seconds = seconds


Handler = Callable[[Delivery], Awaitable[None]]
Burial = Callable[[Delivery, str], Awaitable[None]]
"""Told of a message and the reason right before it becomes a dead letter; raising puts that off."""


class Queue(Protocol):
    """What Redis Streams and Kafka both offer.

    Messages of one key are handled in the order they were published, one at a time; others in parallel.
    A handler that returns has finished its message. One that raises gets the message again, after a pause, at most
    :data:`MAX_DELIVERIES` times in all; then the message lies in the dead-letter topic with the reason. So does a
    message whose handling killed its process as often. A handler therefore is idempotent.
    """

    async def publish(self, topic: str, key: str, value: bytes) -> None:
        """Appends a message; it is durable as the broker is set up when this returns.

        Raises:
            SomaError: REDIS_UNAVAILABLE (or the broker's own code): nothing was promised; publish again.
        """
        ...

    async def consume(
        self,
        topic: str,
        group: str,
        consumer: str,
        handler: Handler,
        *,
        concurrency: int = 1,
        on_dead: Burial | None = None,
    ) -> None:
        """Handles messages until :meth:`stop`, at most ``concurrency`` at a time; outages of the broker are waited out.

        Args:
            topic: where messages are published.
            group: the members of one group share the messages.
            consumer: this member's name, unique among the living.
            handler: handles one message.
            concurrency: messages taken at most; more stay in the queue, for others or for later.
            on_dead: told right before a message is given up.
        """
        ...

    async def depth(self, topic: str, group: str) -> int:
        """How many messages are not finished: waiting and in hand."""
        ...

    async def stop(self, grace_seconds: float = 30.0) -> None:
        """Takes no more messages, finishes those in hand, and gives back what is not finished in time."""
        ...

    async def close(self) -> None:
        """Closes the connections. Call :meth:`stop` first."""
        ...

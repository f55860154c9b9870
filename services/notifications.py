"""Notifications: recorded with the work they tell of, delivered by the relay.

Channel ``web`` is delivered by being listed. Every other channel is a webhook that the operator named; the relay posts
to it (:mod:`somagent.workers.notifier`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Self
from urllib.parse import urlsplit
from uuid import UUID, uuid5

import asyncpg
import orjson
from pydantic import Field, TypeAdapter, ValidationError

from somagent.adapters.settings import Settings
from somagent.domain.errors import Code, SomaError

WEB: Final = "web"
TOPIC: Final = "notifications.events"
_SPACE: Final = UUID("0b6c51f2-93d4-5b53-8a77-3f7a0f1c9e42")
_ADDRESSES: Final = TypeAdapter(dict[Annotated[str, Field(min_length=1, max_length=100)], str])

_ADD: Final = """
WITH added AS (
  INSERT INTO notifications (id, tenant_id, effect_key, user_id, channel, message, severity, status, job_id, step_id,
                             created_at, next_attempt_at, delivered_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $5 = 'web' THEN 'delivered' ELSE 'pending' END, $8, $9,
          clock_timestamp(), clock_timestamp(), CASE WHEN $5 = 'web' THEN clock_timestamp() END)
  ON CONFLICT (tenant_id, effect_key) DO NOTHING
  RETURNING id, tenant_id, channel, severity, status
), told AS (
  INSERT INTO outbox (tenant_id, kind, key, payload)
  SELECT tenant_id, 'event', id::text, jsonb_build_object('topic', $10::text, 'type', 'notification.created',
    'notification_id', id, 'channel', channel, 'severity', severity, 'status', status) FROM added
)
SELECT id, status FROM added
UNION ALL
SELECT id, status FROM notifications WHERE tenant_id = $2 AND effect_key = $3
LIMIT 1
"""


class Channels:
    """The channels there are: ``web``, and the operator's webhooks.

    Args:
        webhooks: address by channel.
    """

    def __init__(self, webhooks: Mapping[str, str]) -> None:
        self.webhooks = dict(webhooks)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The channels of SOMAGENT_WEBHOOKS.

        Raises:
            SomaError: ``validation_failed``, when it is no JSON object of http addresses by name.
        """
        raw = settings.webhooks.get_secret_value().strip()
        if not raw:
            return cls({})
        try:
            webhooks = _ADDRESSES.validate_python(orjson.loads(raw))
            usable = all(map(_is_http_address, webhooks.values()))
        except (ValueError, ValidationError):
            webhooks, usable = {}, False
        if not usable or WEB in webhooks:
            raise SomaError(
                Code.VALIDATION_FAILED,
                'SOMAGENT_WEBHOOKS cannot be used: write a JSON object {"channel": "https://..."}, without a channel '
                "called web.",
            )
        return cls(webhooks)

    def check(self, channel: str) -> None:
        """Refuse a channel that there is not.

        Raises:
            SomaError: ``channel_unknown``.
        """
        if channel != WEB and channel not in self.webhooks:
            known = ", ".join([WEB, *sorted(self.webhooks)])
            raise SomaError(
                Code.CHANNEL_UNKNOWN,
                f"There is no channel {channel!r}. There are: {known}. The operator adds one by SOMAGENT_WEBHOOKS.",
            )


def _is_http_address(url: str) -> bool:
    """Raises ValueError where the port is none."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0


@dataclass(frozen=True, slots=True)
class Sent:
    """A recorded notification. ``status``: pending, delivered or failed."""

    notification_id: UUID
    status: str


async def notify(
    connection: asyncpg.Connection,
    tenant_id: str,
    *,
    effect_key: str,
    channel: str,
    message: str,
    severity: str,
    job_id: UUID | str | None = None,
    step_id: str | None = None,
    user_id: str | None = None,
) -> Sent:
    """Record a notification within the caller's transaction; the same ``effect_key`` gives the first one again.

    Args:
        effect_key: what makes a repeat the same: ``{job}:{step}`` for a step.
        channel: checked by :meth:`Channels.check` before; one that is gone fails on delivery.
        severity: info, warning, error or critical.
        user_id: the only reader; everyone of the tenant when absent.
    """
    row = await connection.fetchrow(
        _ADD,
        uuid5(_SPACE, f"{tenant_id}\0{effect_key}"),
        tenant_id,
        effect_key,
        user_id,
        channel,
        message.replace("\x00", "\ufffd"),
        severity,
        None if job_id is None else UUID(str(job_id)),
        step_id,
        TOPIC,
    )
    assert row is not None  # noqa: S101 - either added or there before
    return Sent(row["id"], row["status"])

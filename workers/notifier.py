"""Delivery of notifications to the operator's webhooks.

A notification is claimed by moving its next attempt a minute ahead (longer than a whole batch can take), posted outside
any transaction, and then settled. Several notifiers share the work; a claim whose notifier dies comes up again. The
other side tells repeats apart by the Idempotency-Key, which is the notification's id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import asyncpg
import httpcore
import httpx
import orjson
import structlog

from somagent.adapters.egress import DEFAULT_PORTS, EgressRules
from somagent.adapters.egress_transport import EgressTransport
from somagent.adapters.postgres.database import Database
from somagent.adapters.settings import Settings
from somagent.domain.errors import SomaError
from somagent.domain.times import rfc3339
from somagent.services.notifications import TOPIC, Channels
from somagent.services.settings.preferences import read_preferences

log = structlog.get_logger(__name__)

TRIES: Final = 10
_BATCH: Final = 20
_AT_ONCE: Final = 5
_LONGEST_PAUSE: Final = 900.0

_DELIVER_LISTED: Final = """
WITH listed AS (
  UPDATE notifications SET status = 'delivered', delivered_at = clock_timestamp(), error = NULL
  WHERE status = 'pending' AND channel = 'web' RETURNING 1
)
SELECT count(*) FROM listed
"""
_CLAIM: Final = """
UPDATE notifications SET attempts = attempts + 1, next_attempt_at = clock_timestamp() + interval '60 seconds'
WHERE id IN (
  SELECT id FROM notifications WHERE status = 'pending' AND next_attempt_at <= clock_timestamp()
  ORDER BY next_attempt_at LIMIT $1 FOR UPDATE SKIP LOCKED
)
RETURNING id, tenant_id, channel, message, severity, user_id, job_id, step_id, created_at, attempts
"""
_SETTLE: Final = """
WITH settled AS (
  UPDATE notifications SET status = $3, error = $4,
    delivered_at = CASE WHEN $3 = 'delivered' THEN clock_timestamp() END,
    next_attempt_at = clock_timestamp() + make_interval(secs => $5)
  WHERE id = $1 AND status = 'pending' AND attempts = $2
  RETURNING id, tenant_id, channel, severity, status, attempts
)
INSERT INTO outbox (tenant_id, kind, key, payload)
SELECT tenant_id, 'event', id::text, jsonb_build_object('topic', $6::text, 'type', 'notification.' || status,
  'notification_id', id, 'channel', channel, 'severity', severity, 'attempts', attempts) FROM settled
WHERE status <> 'pending'
"""
_PUT_OFF: Final = """
UPDATE notifications SET attempts = attempts - 1, next_attempt_at = $3
WHERE id = $1 AND status = 'pending' AND attempts = $2
"""


def back_off_seconds(attempt: int) -> float:
    """The pause after a failed attempt, counted from 1: 2, 4, 8, ... seconds, at most 15 minutes."""
    return min(_LONGEST_PAUSE, 2.0**attempt)


class Notifier:
    """Delivers what is due and wanted. Ten failed attempts, about 17 minutes, end a notification as failed.

    Args:
        database: opened as role ``soma_system``, which sees every tenant.
        timeout_seconds: for one whole exchange with a webhook.

    Raises:
        SomaError: ``validation_failed``, when SOMAGENT_WEBHOOKS cannot be used.
    """

    def __init__(self, settings: Settings, database: Database, *, timeout_seconds: float = 10.0) -> None:
        self._database = database
        self._timeout_seconds = timeout_seconds
        self._webhooks = Channels.from_settings(settings).webhooks
        # The operator who names a webhook allows its address with it; redirects are not followed.
        allowed = [settings.egress_allow, *map(_host_and_port, self._webhooks.values())]
        self._client = httpx.AsyncClient(
            transport=EgressTransport(EgressRules(",".join(filter(None, allowed)))),
            trust_env=False,
            timeout=timeout_seconds,
        )

    async def run_once(self) -> int:
        """Deliver what is due now. The number of notifications taken up; 0 when there is nothing to do.

        When Postgres fails in the middle, its error is raised and nothing is lost: what was claimed comes up again in a
        minute, under the same Idempotency-Key.
        """
        listed: int = await self._database.pool.fetchval(_DELIVER_LISTED)
        claimed = await self._database.pool.fetch(_CLAIM, _BATCH)
        due = await self._wanted_now(claimed)
        at_once = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._attempt(row, at_once) for row in due))
        return listed + len(claimed)

    async def close(self) -> None:
        """Close connections that are kept open."""
        await self._client.aclose()

    async def _wanted_now(self, claimed: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
        """Those that their readers want, and want now; the others are suppressed, or put off to the end of a rest."""
        if not claimed:
            return []
        async with self._database.connection("") as connection:
            found = await read_preferences(connection, [(row["tenant_id"], row["user_id"] or "") for row in claimed])
        now, due = datetime.now(UTC), []
        for row in claimed:
            wish = found.of(row["tenant_id"], row["user_id"])
            if not wish.wants(row["severity"], row["channel"]):
                await self._settle(row, "suppressed", "Its reader does not want to be sent this.")
            elif (until := wish.quiet_until(now, row["severity"])) is not None:
                await self._database.pool.execute(_PUT_OFF, row["id"], row["attempts"], until)
            else:
                due.append(row)
        return due

    async def _attempt(self, row: asyncpg.Record, at_once: asyncio.Semaphore) -> None:
        url = self._webhooks.get(row["channel"])
        if url is None:
            await self._settle(row, "failed", f"There is no channel {row['channel']!r} any more.")
            return
        async with at_once:
            failure = await self._post(url, row)
        if failure is None:
            await self._settle(row, "delivered", None)
            return
        status = "failed" if row["attempts"] >= TRIES else "pending"
        log.warning("notification_not_delivered", id=str(row["id"]), channel=row["channel"], attempt=row["attempts"],
                    status=status, reason=failure)  # fmt: skip
        await self._settle(row, status, failure)

    async def _post(self, url: str, row: asyncpg.Record) -> str | None:
        """Why it was not taken, or None. The address, which may hold a secret, is never part of it."""
        headers = {
            "content-type": "application/json",
            "idempotency-key": str(row["id"]),
            "user-agent": "SomaGent",
        }
        request = self._client.build_request("POST", url, content=_body(row), headers=headers)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._client.send(request, stream=True, follow_redirects=False)
                await response.aclose()
        except SomaError as error:
            return error.detail
        except TimeoutError:
            return f"The webhook gave no answer in {self._timeout_seconds:g} seconds."
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, httpx.HTTPError) as error:
            return f"The webhook cannot be reached ({type(error).__name__})."
        return None if response.is_success else f"The webhook answered {response.status_code}."

    async def _settle(self, row: asyncpg.Record, status: str, error: str | None) -> None:
        pause = back_off_seconds(row["attempts"])
        await self._database.pool.execute(_SETTLE, row["id"], row["attempts"], status, error, pause, TOPIC)


def _body(row: asyncpg.Record) -> bytes:
    """What a webhook receives."""
    return orjson.dumps(
        {
            "id": str(row["id"]),
            "tenant_id": row["tenant_id"],
            "channel": row["channel"],
            "message": row["message"],
            "severity": row["severity"],
            "user_id": row["user_id"],
            "job_id": None if row["job_id"] is None else str(row["job_id"]),
            "step_id": row["step_id"],
            "created_at": rfc3339(row["created_at"]),
        }
    )


def _host_and_port(url: str) -> str:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or DEFAULT_PORTS[parts.scheme]}"

"""What people want to be notified of: their own wish, else the tenant's, else everything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import asyncpg
from pydantic import ValidationError

from somagent.domain.caller import Caller
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.notification_preferences import NotificationPreferences
from somagent.services.audit.intake import by, take_in
from somagent.services.notifications import Channels

EVERYBODY: Final = ""
"""The user id under which a tenant's own preferences lie; no user can be called so."""

_READ: Final = """
SELECT tenant_id, user_id, preferences::text AS preferences FROM notification_preferences p
JOIN unnest($1::text[], $2::text[]) AS wanted(t, u) ON p.tenant_id = wanted.t AND p.user_id IN (wanted.u, '')
"""
_WRITE: Final = """
INSERT INTO notification_preferences (tenant_id, user_id, preferences, updated_at)
VALUES ($1, $2, $3::text::jsonb, clock_timestamp())
ON CONFLICT (tenant_id, user_id) DO UPDATE SET preferences = excluded.preferences, updated_at = excluded.updated_at
"""

Person = tuple[str, str]
"""Tenant and user; the user is empty for everybody of the tenant."""


class Preferences:
    """The preferences of some people, read together."""

    def __init__(self, written: dict[Person, NotificationPreferences]) -> None:
        self._written = written

    def of(self, tenant_id: str, user_id: str | None) -> NotificationPreferences:
        """What holds for a person; without one, what the tenant wants."""
        found = self._written.get((tenant_id, user_id or EVERYBODY)) or self._written.get((tenant_id, EVERYBODY))
        return found or NotificationPreferences()

    def own(self, tenant_id: str, user_id: str) -> bool:
        """Whether the person has written any."""
        return (tenant_id, user_id) in self._written


async def read_preferences(connection: asyncpg.Connection, people: Iterable[Person]) -> Preferences:
    """What these people want, and what their tenants want."""
    wanted = list(set(people))
    rows = await connection.fetch(_READ, [tenant for tenant, _ in wanted], [user for _, user in wanted])
    return Preferences({(row["tenant_id"], row["user_id"]): _understood(row["preferences"]) for row in rows})


async def write_preferences(
    connection: asyncpg.Connection,
    caller: Caller,
    user_id: str,
    preferences: NotificationPreferences,
    channels: Channels,
) -> None:
    """Set what a person, or everybody of the caller's tenant, wants; in the caller's transaction.

    Raises:
        SomaError: ``validation_failed`` for channels that there are not; ``not_found`` for a user that there is not.
    """
    _check_channels(preferences, channels)
    if user_id != EVERYBODY and not await _exists(connection, caller.tenant_id, user_id):
        raise SomaError(Code.NOT_FOUND, "There is no such user.")
    before = (await read_preferences(connection, [(caller.tenant_id, user_id)])).of(caller.tenant_id, user_id)
    await connection.execute(_WRITE, caller.tenant_id, user_id, preferences.model_dump_json())
    if preferences != before:
        detail = {"old": before.model_dump(mode="json"), "new": preferences.model_dump(mode="json")}
        whose = f"user:{user_id}" if user_id else f"tenant:{caller.tenant_id}"
        happening = by(caller, "notification_preferences.changed", whose, topic="settings.changed", detail=detail)
        await take_in(connection, happening)


async def _exists(connection: asyncpg.Connection, tenant_id: str, user_id: str) -> bool:
    query = "SELECT EXISTS (SELECT 1 FROM users WHERE tenant_id = $1 AND id = $2)"
    return bool(await connection.fetchval(query, tenant_id, user_id))


def _check_channels(preferences: NotificationPreferences, channels: Channels) -> None:
    faults = []
    for position, channel in enumerate(preferences.channels or ()):
        try:
            channels.check(channel)
        except SomaError as error:
            faults.append(Fault(f"channels[{position}]", error.code, error.detail))
    if faults:
        raise SomaError(Code.VALIDATION_FAILED, "Some channels do not exist.", errors=faults)


def _understood(written: str) -> NotificationPreferences:
    """What cannot be read any more (a time zone that was dropped) holds nobody's notifications back."""
    try:
        return NotificationPreferences.model_validate_json(written)
    except ValidationError:
        return NotificationPreferences()

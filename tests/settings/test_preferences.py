"""What people want to be notified of, and that the notifier heeds it."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr

from somagent.adapters.postgres.database import Database
from somagent.adapters.settings import Settings
from somagent.domain.notification_preferences import NotificationPreferences, QuietHours
from somagent.services.notifications import notify
from somagent.tests.api.servers import ApiServer
from somagent.tests.notifications.receiver import Receiver
from somagent.tests.settings.conftest import audited
from somagent.workers.notifier import Notifier

OWN = "/v1/notification-preferences"
TENANTS = "/v1/tenants/acme/notification-preferences"


def test_ones_own_and_the_tenants(server: ApiServer, acme: httpx.Client) -> None:
    assert acme.get(OWN).json() == {
        "severity_threshold": "info", "channels": None, "quiet_hours": None, "user_id": "ann", "inherited": True,
    }  # fmt: skip
    assert acme.put(TENANTS, json={"severity_threshold": "warning"}).json()["user_id"] is None
    inherited = acme.get(OWN).json()
    assert (inherited["severity_threshold"], inherited["inherited"]) == ("warning", True)
    quiet = {"start": "22:00", "end": "06:30", "timezone": "Europe/Berlin"}
    mine = acme.put(OWN, json={"severity_threshold": "error", "channels": ["web"], "quiet_hours": quiet})
    assert mine.status_code == 200, mine.text
    assert (mine.json()["inherited"], mine.json()["quiet_hours"]) == (False, quiet)
    assert acme.get(TENANTS, params={"user_id": "ann"}).json() == mine.json()
    assert acme.get(TENANTS).json()["severity_threshold"] == "warning"
    assert acme.put(TENANTS, params={"user_id": "nobody"}, json={}).status_code == 404
    assert audited(server, "settings.changed", "user:ann")[0][0] == "notification_preferences.changed"
    acme.put(OWN, json={})
    acme.put(TENANTS, json={})


def test_faults(acme: httpx.Client) -> None:
    wrong = {"severity_threshold": "loud", "quiet_hours": {"start": "25:00", "end": "6", "timezone": "Mars/Base"}}
    answer = acme.put(OWN, json={**wrong, "sound": True})
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 5, answer.text
    unknown = acme.put(OWN, json={"channels": ["web", "pigeon"]})
    assert (unknown.status_code, unknown.json()["errors"][0]["path"]) == (422, "channels[1]")


@pytest.mark.parametrize(
    ("hours", "moment", "until"),
    [
        (("22:00", "07:00", "UTC"), "2026-03-01T23:00", "2026-03-02T07:00"),
        (("22:00", "07:00", "UTC"), "2026-03-01T06:59", "2026-03-01T07:00"),
        (("22:00", "07:00", "UTC"), "2026-03-01T07:00", None),
        (("12:00", "13:00", "Asia/Tokyo"), "2026-03-01T03:30", "2026-03-01T04:00"),
        (("12:00", "13:00", "UTC"), "2026-03-01T11:59", None),
        (("08:00", "08:00", "UTC"), "2026-03-01T09:00", "2026-03-02T08:00"),
        # clocks go forward at 02:00 that night: the rest is an hour shorter
        (("22:00", "07:00", "Europe/Berlin"), "2026-03-28T23:00", "2026-03-29T05:00"),
    ],
)
def test_quiet_hours(hours: tuple[str, str, str], moment: str, until: str | None) -> None:
    start, end, timezone = hours
    found = QuietHours(start=start, end=end, timezone=timezone).end_after(datetime.fromisoformat(moment + "Z"))
    assert found == (None if until is None else datetime.fromisoformat(until + "Z"))


def test_what_the_notifier_sends(server: ApiServer, acme: httpx.Client) -> None:
    now = datetime.now(UTC)
    resting = QuietHours(start=_clock(now - timedelta(hours=1)), end=_clock(now + timedelta(hours=1)))
    quiet = NotificationPreferences(severity_threshold="warning", quiet_hours=resting).model_dump(mode="json")
    assert acme.put(OWN, json=quiet).status_code == 200
    with Receiver() as receiver:
        sent = asyncio.run(_deliver(server, receiver))
        assert [request.body["message"] for request in receiver.received] == ["critical ann", "info bob"]
    assert [status for status, _ in sent] == ["suppressed", "pending", "delivered", "delivered"]
    put_off = sent[1][1]
    assert timedelta(minutes=58) < put_off - now < timedelta(minutes=61)
    listed = acme.get("/v1/notifications", params={"status": "suppressed"}).json()["items"]
    assert [item["message"] for item in listed] == ["info ann"]
    acme.put(OWN, json={})


def _clock(moment: datetime) -> str:
    return moment.strftime("%H:%M")


async def _deliver(server: ApiServer, receiver: Receiver) -> list[tuple[str, datetime]]:
    settings = Settings(webhooks=SecretStr(json.dumps({"ops": receiver.url})))
    database = await Database.open(server.postgres.system_url, pool_size=4)
    notifier = Notifier(settings, database)
    try:
        made: list[UUID] = []
        async with database.connection("acme") as connection:
            for severity, user in (("info", "ann"), ("warning", "ann"), ("critical", "ann"), ("info", "bob")):
                sent = await notify(
                    connection, "acme", effect_key=str(uuid4()), channel="ops", message=f"{severity} {user}",
                    severity=severity, user_id=user,
                )  # fmt: skip
                made.append(sent.notification_id)
                await notifier.run_once()
            rows = await connection.fetch("SELECT id, status, next_attempt_at FROM notifications")
        found = {row["id"]: (row["status"], row["next_attempt_at"]) for row in rows}
        return [found[one] for one in made]
    finally:
        await notifier.close()
        await database.close()

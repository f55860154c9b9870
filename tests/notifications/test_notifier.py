"""Delivery to webhooks over real sockets: repeats, failures, several notifiers, a notifier that dies."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from somagent.adapters.postgres.database import Database
from somagent.adapters.settings import Settings
from somagent.domain.errors import Code, SomaError
from somagent.services.notifications import Channels, notify
from somagent.tests.notifications.receiver import Receiver
from somagent.workers.notifier import TRIES, Notifier, back_off_seconds

TENANT = "acme"
JOB = uuid4()


async def _notify(app_db: Database, channel: str = "ops", message: str = "The disk is full.") -> UUID:
    async with app_db.connection(TENANT) as connection:
        sent = await notify(
            connection, TENANT, effect_key=str(uuid4()), channel=channel, message=message, severity="critical",
            job_id=JOB, step_id="tell",
        )  # fmt: skip
        return sent.notification_id


async def _row(database: Database, notification_id: UUID) -> asyncpg.Record:
    row = await database.pool.fetchrow(
        "SELECT *, next_attempt_at - clock_timestamp() AS pause FROM notifications WHERE id = $1", notification_id
    )
    assert row is not None
    return row


async def _make_due(database: Database) -> None:
    await database.pool.execute("UPDATE notifications SET next_attempt_at = now() WHERE status = 'pending'")


async def _events(database: Database) -> list[str]:
    return [row["type"] for row in await database.pool.fetch("SELECT payload->>'type' AS type FROM outbox ORDER BY id")]


async def test_a_webhook_gets_the_notification_once(
    notifier: Notifier, app_db: Database, system_db: Database, receiver: Receiver
) -> None:
    notification_id = await _notify(app_db)
    assert await notifier.run_once() == 1
    assert await notifier.run_once() == 0
    (request,) = receiver.received
    assert request.path == "/T0/the-secret"
    assert request.headers["idempotency-key"] == str(notification_id)
    assert request.headers["content-type"] == "application/json"
    created_at = request.body.pop("created_at")
    assert created_at.endswith("Z")
    assert request.body == {
        "id": str(notification_id), "tenant_id": TENANT, "channel": "ops", "message": "The disk is full.",
        "severity": "critical", "user_id": None, "job_id": str(JOB), "step_id": "tell",
    }  # fmt: skip
    row = await _row(system_db, notification_id)
    assert (row["status"], row["attempts"], row["error"]) == ("delivered", 1, None)
    assert row["delivered_at"] is not None
    assert await _events(system_db) == ["notification.created", "notification.delivered"]


async def test_failures_are_repeated_with_back_off_under_the_same_key(
    notifier: Notifier, app_db: Database, system_db: Database, receiver: Receiver
) -> None:
    receiver.answers = [500, 429, 302, 204]
    notification_id = await _notify(app_db)
    for attempt, said in enumerate(["500", "429", "302"], start=1):
        assert await notifier.run_once() == 1
        row = await _row(system_db, notification_id)
        assert (row["status"], row["attempts"], row["error"]) == ("pending", attempt, f"The webhook answered {said}.")
        assert back_off_seconds(attempt) - 2 < row["pause"].total_seconds() <= back_off_seconds(attempt)
        assert await notifier.run_once() == 0
        await _make_due(system_db)
    assert await notifier.run_once() == 1
    row = await _row(system_db, notification_id)
    assert (row["status"], row["attempts"], row["error"]) == ("delivered", 4, None)
    assert {request.headers["idempotency-key"] for request in receiver.received} == {str(notification_id)}
    assert {request.path for request in receiver.received} == {"/T0/the-secret"}


async def test_what_never_works_is_given_up(notifier: Notifier, app_db: Database, system_db: Database) -> None:
    notification_id = await _notify(app_db, "down")
    for _ in range(TRIES):
        assert await notifier.run_once() == 1
        await _make_due(system_db)
    assert await notifier.run_once() == 0
    row = await _row(system_db, notification_id)
    assert (row["status"], row["attempts"]) == ("failed", TRIES)
    assert row["error"].startswith("The webhook cannot be reached")
    assert "closed" not in row["error"]
    assert await _events(system_db) == ["notification.created", "notification.failed"]


async def test_a_webhook_that_does_not_answer_is_left_in_time(
    settings: Settings, nothing_left: None, app_db: Database, system_db: Database, receiver: Receiver
) -> None:
    receiver.delay = 1.5
    notification_id = await _notify(app_db)
    hasty = Notifier(settings, system_db, timeout_seconds=0.3)
    assert await hasty.run_once() == 1
    await hasty.close()
    row = await _row(system_db, notification_id)
    assert row["status"] == "pending"
    assert "webhook" in row["error"]
    assert "the-secret" not in row["error"]


async def test_a_channel_that_is_gone_fails_at_once(notifier: Notifier, app_db: Database, system_db: Database) -> None:
    notification_id = await _notify(app_db, "removed")
    assert await notifier.run_once() == 1
    row = await _row(system_db, notification_id)
    assert (row["status"], row["error"]) == ("failed", "There is no channel 'removed' any more.")


async def test_what_is_listed_is_delivered(notifier: Notifier, app_db: Database, system_db: Database) -> None:
    made = await _notify(app_db, "web")
    assert (await _row(system_db, made))["status"] == "delivered"
    waiting = uuid4()
    async with app_db.connection(TENANT) as connection:
        await connection.execute(
            "INSERT INTO notifications (id, tenant_id, effect_key, channel, message, severity) "
            "VALUES ($1, $2, $3, 'web', 'from elsewhere', 'info')",
            waiting, TENANT, str(waiting),
        )  # fmt: skip
    assert await notifier.run_once() == 1
    assert (await _row(system_db, waiting))["status"] == "delivered"


async def test_several_notifiers_share_the_work(
    settings: Settings, notifier: Notifier, app_db: Database, system_db: Database, receiver: Receiver
) -> None:
    wanted = {str(await _notify(app_db, message=f"number {number}")) for number in range(50)}
    second = Notifier(settings, system_db, timeout_seconds=20)

    async def until_done(one: Notifier) -> None:
        while await one.run_once():
            pass

    await asyncio.gather(until_done(notifier), until_done(second), until_done(second))
    await second.close()
    keys = [request.headers["idempotency-key"] for request in receiver.received]
    assert len(keys) == len(set(keys)) == 50
    assert set(keys) == wanted


async def test_what_a_dead_notifier_had_claimed_comes_up_again(
    settings: Settings, notifier: Notifier, app_db: Database, system_db: Database, receiver: Receiver
) -> None:
    receiver.delay = 0.3
    notification_id = await _notify(app_db)
    dying = Notifier(settings, system_db, timeout_seconds=20)
    attempt = asyncio.create_task(dying.run_once())
    await asyncio.to_thread(receiver.first.wait, 20)
    attempt.cancel()
    with suppress(asyncio.CancelledError):
        await attempt
    await dying.close()
    row = await _row(system_db, notification_id)
    assert (row["status"], row["attempts"]) == ("pending", 1)
    assert 50 < row["pause"].total_seconds() <= 60
    assert await notifier.run_once() == 0
    await _make_due(system_db)
    assert await notifier.run_once() == 1
    assert (await _row(system_db, notification_id))["status"] == "delivered"
    assert [request.headers["idempotency-key"] for request in receiver.received] == [str(notification_id)] * 2


def test_back_off_grows_to_a_quarter_of_an_hour() -> None:
    assert [back_off_seconds(attempt) for attempt in (1, 2, 3)] == [2, 4, 8]
    assert back_off_seconds(30) == 900


@pytest.mark.parametrize(
    "webhooks",
    [
        "{",
        "[]",
        '{"a": 1}',
        '{"a": "ftp://x"}',
        '{"a": "https://"}',
        '{"web": "https://x.org"}',
        '{"a": "http://x:99999"}',
    ],
)
def test_webhooks_that_cannot_be_used_are_refused(webhooks: str) -> None:
    with pytest.raises(SomaError) as refused:
        Channels.from_settings(Settings(webhooks=SecretStr(webhooks)))
    assert refused.value.code is Code.VALIDATION_FAILED

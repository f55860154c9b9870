"""Notifications over HTTP, on a real API process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

import httpx
import pytest
from httpx_sse import ServerSentEvent, connect_sse

from somagent.tests.api.servers import ApiServer, PostgresServer
from somagent.tests.slm.redis_server import RedisServer


@dataclass
class WithWebhook(ApiServer):
    """The API where the operator named a channel."""

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "SOMAGENT_WEBHOOKS": '{"ops": "https://hooks.example.org/T0/the-secret"}'}


@pytest.fixture(scope="module")
def api(notifications_postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    redis = RedisServer()
    redis.start()
    server = WithWebhook(notifications_postgres, redis, tmp_path_factory.mktemp("api"))
    server.start()
    yield server
    assert server.stop() == 0
    redis.remove()


@pytest.fixture
def tenant() -> str:
    return f"tenant-{uuid4().hex[:12]}"


def _client(api: ApiServer, tenant: str, user: str = "ann", *capabilities: str) -> httpx.Client:
    headers = api.headers(tenant, user, *capabilities)
    return httpx.Client(base_url=api.url, headers=headers, trust_env=False, timeout=30)


@pytest.fixture
def ann(api: ApiServer, tenant: str) -> Iterator[httpx.Client]:
    with _client(api, tenant) as opened:
        yield opened


def _send(client: httpx.Client, message: str, **more: str) -> dict[str, object]:
    answer = client.post("/v1/notifications", json={"message": message, **more})
    assert answer.status_code == 201, answer.text
    sent: dict[str, object] = answer.json()
    return sent


def _messages(client: httpx.Client, path: str = "/v1/notifications", **query: str) -> list[str]:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return [item["message"] for item in answer.json()["items"]]


def test_what_is_sent_is_listed_newest_first(ann: httpx.Client) -> None:
    sent = _send(ann, "one")
    _send(ann, "two", channel="ops", severity="critical")
    assert UUID(str(sent["id"]))
    assert (sent["status"], sent["channel"], sent["severity"], sent["attempts"]) == ("delivered", "web", "info", 0)
    assert sent["delivered_at"] is not None
    assert _messages(ann) == ["two", "one"]
    assert _messages(ann, severity="critical") == ["two"]
    assert _messages(ann, channel="web") == ["one"]
    assert _messages(ann, status="pending") == ["two"]
    assert _messages(ann, "/v1/notifications/backlog") == ["two"]
    first = ann.get("/v1/notifications", params={"limit": 1}).json()
    assert _messages(ann, cursor=first["next_cursor"]) == ["one"]


def test_a_message_for_one_is_not_shown_to_another(ann: httpx.Client, api: ApiServer, tenant: str) -> None:
    _send(ann, "for all")
    _send(ann, "for bob", user_id="bob")
    with _client(api, tenant, "bob") as bob, _client(api, "stranger", "bob") as stranger:
        assert _messages(bob) == ["for bob", "for all"]
        assert _messages(ann) == ["for all"]
        assert "for all" not in _messages(stranger)


def test_an_unknown_channel_is_refused_before_anything_else(ann: httpx.Client) -> None:
    refused = ann.post("/v1/notifications", json={"message": "x", "channel": "pager"}, headers={"Idempotency-Key": "k"})
    assert (refused.status_code, refused.json()["code"]) == (422, "channel_unknown")
    assert "web, ops" in refused.json()["detail"]
    assert "secret" not in refused.text
    assert _messages(ann) == []


@pytest.mark.parametrize(
    "body", [{}, {"message": ""}, {"message": "x", "severity": "odd"}, {"message": "x", "to": "y"}]
)
def test_bad_input_is_refused(ann: httpx.Client, body: object) -> None:
    assert ann.post("/v1/notifications", json=body).status_code == 422


def test_sending_is_idempotent(ann: httpx.Client) -> None:
    answers = [
        ann.post("/v1/notifications", json={"message": "once"}, headers={"Idempotency-Key": "k"}) for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert _messages(ann) == ["once"]


def test_it_needs_its_capability(api: ApiServer, tenant: str) -> None:
    with _client(api, tenant, "ann", "job:read") as reader, _client(api, tenant, "ann", "notification:send") as sender:
        for path in ("", "/backlog", "/stream"):
            assert reader.get(f"/v1/notifications{path}").json()["code"] == "capability_missing"
        assert reader.post("/v1/notifications", json={"message": "x"}).status_code == 403
        assert sender.post("/v1/notifications", json={"message": "x"}).status_code == 201


def _follow(client: httpx.Client, count: int, after: str | None, while_open: list[str]) -> list[ServerSentEvent]:
    headers = {} if after is None else {"Last-Event-ID": after}
    with connect_sse(client, "GET", "/v1/notifications/stream", headers=headers) as source:
        assert source.response.headers["content-type"].startswith("text/event-stream")
        for message in while_open:
            _send(client, message)
        events: list[ServerSentEvent] = []
        for event in source.iter_sse():
            if event.event == "notification":
                events.append(event)
            if len(events) == count:
                break
    return events


def test_notifications_are_followed_and_resumed(ann: httpx.Client) -> None:
    _send(ann, "before")
    first = _follow(ann, 2, None, ["one", "two"])
    assert [json.loads(event.data)["message"] for event in first] == ["one", "two"]
    assert [event.id for event in first] == [json.loads(event.data)["id"] for event in first]
    _send(ann, "three")
    resumed = _follow(ann, 3, first[0].id, ["four"])
    assert [json.loads(event.data)["message"] for event in resumed] == ["two", "three", "four"]


def test_a_place_that_is_none_is_refused(ann: httpx.Client) -> None:
    refused = ann.get("/v1/notifications/stream", headers={"Last-Event-ID": "yesterday"})
    assert (refused.status_code, refused.json()["code"]) == (422, "validation_failed")

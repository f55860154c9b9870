"""Lists: newest first, nothing twice, nothing left out, whatever is added meanwhile."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from somagent.domain.errors import Code, SomaError
from somagent.services.pagination import Cursor
from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer

THINGS = "/v1/probe/things"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_pages_hold_each_thing_once_although_more_come(client: httpx.Client) -> None:
    text = str(uuid4())
    ids = [client.post(THINGS, json={"message": text}).json()["id"] for _ in range(7)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"text": text, "limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = client.get(THINGS, params=query).json()
        assert set(page) == {"items", "next_cursor"}
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
        client.post(THINGS, json={"message": text})
    assert seen == ids[::-1]


def test_rows_of_the_same_moment(api: ApiServer, client: httpx.Client) -> None:
    text, moment = str(uuid4()), datetime(2026, 1, 1, 12, 0, 0, 123_000, tzinfo=UTC)
    for _ in range(5):
        api.postgres.run(
            "INSERT INTO notifications (id, tenant_id, effect_key, channel, message, severity, created_at) "
            "VALUES ($1, 'acme', $2, 'web', $3, 'info', $4)",
            uuid4(), str(uuid4()), text, moment,
        )  # fmt: skip
    seen: set[str] = set()
    cursor: str | None = ""
    for _ in range(3):
        page = client.get(THINGS, params={"text": text, "limit": "2"} | ({"cursor": cursor} if cursor else {})).json()
        seen |= {item["id"] for item in page["items"]}
        cursor = page["next_cursor"]
        assert all(item["created_at"] == "2026-01-01T12:00:00.123000Z" for item in page["items"])
    assert cursor is None
    assert len(seen) == 5


def test_moments_sort_as_text(client: httpx.Client) -> None:
    items = client.get(THINGS, params={"limit": 200}).json()["items"]
    moments = [item["created_at"] for item in items]
    assert all(MOMENT.fullmatch(moment) for moment in moments)
    assert moments == sorted(moments, reverse=True)


def test_a_full_last_page_has_no_next(client: httpx.Client) -> None:
    text = str(uuid4())
    for _ in range(2):
        client.post(THINGS, json={"message": text})
    assert client.get(THINGS, params={"text": text, "limit": 2}).json()["next_cursor"] is None


@pytest.mark.parametrize(
    "cursor", ["", "x", "AAAA", "====", "é", "a" * 43, "AAAAAAAAAAAA", "_" * 32, "../../etc", "-1"]
)
def test_cursors_that_we_did_not_give(client: httpx.Client, cursor: str) -> None:
    problem(client.get(THINGS, params={"cursor": cursor}), 400, "invalid_cursor")


def test_a_cursor_of_an_impossible_moment(client: httpx.Client) -> None:
    for micros in (b"\x7f" + b"\xff" * 7, b"\x80" + b"\x00" * 7):
        cursor = base64.urlsafe_b64encode(micros + str(uuid4()).encode()).rstrip(b"=").decode()
        problem(client.get(THINGS, params={"cursor": cursor}), 400, "invalid_cursor")


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.text(alphabet=st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), min_size=1, max_size=60),
)
def test_a_cursor_comes_back_as_it_was(moment: datetime, name: str) -> None:
    cursor = Cursor(moment, name)
    assert Cursor.decode(cursor.encode()) == cursor


@given(st.text(max_size=80))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        cursor = Cursor.decode(text)
    except SomaError as refusal:
        code = refusal.code
    else:
        assert cursor.encode() == text
        return
    assert code is Code.INVALID_CURSOR

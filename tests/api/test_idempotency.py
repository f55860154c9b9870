"""Creating once: whatever comes twice, or twenty times at once, is made once."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import uuid4

import asyncpg
import httpx
import pytest

from somagent.services.idempotency import forget_old
from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer

THINGS, FAST = "/v1/probe/things", "/v1/probe/fast"
BOTH = pytest.mark.parametrize("path", [THINGS, FAST])


def made(client: httpx.Client, message: str) -> int:
    """How many things of that message there are."""
    return len(client.get(THINGS, params={"text": message, "limit": 200}).json()["items"])


def key(text: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": text or str(uuid4())}


@BOTH
def test_the_first_answer_again(client: httpx.Client, path: str) -> None:
    header, message = key(), str(uuid4())
    first = client.post(path, json={"message": message}, headers=header)
    again = client.post(path, json={"message": message, "seconds": 0.0}, headers=header)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert first.headers["location"] == again.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert made(client, message) == 1


@BOTH
def test_without_a_key_each_request_makes_one(client: httpx.Client, path: str) -> None:
    message = str(uuid4())
    for _ in range(2):
        assert client.post(path, json={"message": message}).status_code == 201
    assert made(client, message) == 2


@BOTH
def test_the_same_key_for_something_else(client: httpx.Client, path: str) -> None:
    header, message = key(), str(uuid4())
    client.post(path, json={"message": message}, headers=header)
    problem(client.post(path, json={"message": message + "!"}, headers=header), 422, "idempotency_key_reused")
    other = FAST if path == THINGS else THINGS
    problem(client.post(other, json={"message": message}, headers=header), 422, "idempotency_key_reused")
    assert made(client, message) == 1
    assert made(client, message + "!") == 0


@BOTH
async def test_twenty_at_once(api: ApiServer, client: httpx.Client, path: str) -> None:
    headers, message = {**api.headers(), **key()}, str(uuid4())
    body = {"message": message, "seconds": 0.3}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, trust_env=False, timeout=60) as many:
        answers = await asyncio.gather(*(many.post(path, json=body) for _ in range(20)))
        counts = Counter(answer.status_code for answer in answers)
        assert set(counts) <= {201, 409}
        assert counts[201] >= 1
        for answer in answers:
            if answer.status_code == 409:
                problem(answer, 409, "idempotency_in_progress")
                assert answer.headers["retry-after"] == "1"
        bodies = {answer.content for answer in answers if answer.status_code == 201}
        assert len(bodies) == 1
        assert sum("idempotent-replayed" not in answer.headers for answer in answers if answer.status_code == 201) == 1
        assert (await many.post(path, json=body)).content in bodies
    assert made(client, message) == 1


@BOTH
def test_a_refusal_is_not_kept(client: httpx.Client, path: str) -> None:
    header, message = key(), str(uuid4())
    problem(client.post(path, json={"message": message, "fails": True}, headers=header), 409, "job_not_active")
    assert made(client, message) == 0
    assert client.post(path, json={"message": message}, headers=header).status_code == 201
    assert made(client, message) == 1


def test_keys_belong_to_their_user_and_tenant(api: ApiServer, nobody: httpx.Client) -> None:
    header, message = key(), str(uuid4())
    for tenant, user in (("acme", "ann"), ("acme", "bob"), ("beta", "ann")):
        answer = nobody.post(THINGS, json={"message": message}, headers={**header, **api.headers(tenant, user)})
        assert answer.status_code == 201
        assert "idempotent-replayed" not in answer.headers


def test_a_key_is_free_again_after_a_day(api: ApiServer, client: httpx.Client) -> None:
    header, message = key(), str(uuid4())
    first = client.post(THINGS, json={"message": message}, headers=header)
    api.postgres.run(
        "UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 second' WHERE key = $1",
        header["Idempotency-Key"],
    )
    later = client.post(THINGS, json={"message": message + "?"}, headers=header)
    assert later.status_code == 201
    assert later.json()["id"] != first.json()["id"]
    again = client.post(THINGS, json={"message": message + "?"}, headers=header)
    assert again.json() == later.json()


@pytest.mark.parametrize("wrong", ["x" * 256, "a b", "a\tb", "é"])
def test_keys_that_cannot_be(client: httpx.Client, wrong: str) -> None:
    answer = client.post(THINGS, json={"message": "x"}, headers=[(b"Idempotency-Key", wrong.encode())])
    document = problem(answer, 422, "validation_failed")
    assert document["errors"][0]["code"] == "idempotency_key"


def test_the_longest_key(client: httpx.Client) -> None:
    longest = str(uuid4()).ljust(255, "~")
    assert client.post(THINGS, json={"message": "x"}, headers=key(longest)).status_code == 201


async def test_old_answers_are_forgotten(api: ApiServer) -> None:
    connection = await asyncpg.connect(api.postgres.system_url)
    try:
        for number, age in enumerate(("23 hours", "25 hours", "3 days")):
            await connection.execute(
                "INSERT INTO idempotency_keys (tenant_id, user_id, key, body_digest, status, body, created_at) "
                "VALUES ('acme', 'forgetful', $1, '', 201, '', now() - $2::text::interval)",
                str(number), age,
            )  # fmt: skip
        assert await forget_old(connection, 1) == 1
        assert await forget_old(connection) == 1
        assert await forget_old(connection) == 0
        kept = await connection.fetch("SELECT key FROM idempotency_keys WHERE user_id = 'forgetful'")
        assert [row["key"] for row in kept] == ["0"]
    finally:
        await connection.close()

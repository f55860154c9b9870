"""Every operation of the reference, given what nobody should send: a problem document each time, never a 500."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

PLACE = re.compile(r"\{[^}]+\}")
UNKNOWN = "00000000-0000-4000-8000-000000000000"
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "a number": b"1",
    "a text": b'"x"',
    "a list": b"[]",
    "an empty object": b"{}",
    "an unknown field": b'{"no_such_field": 1}',
    "a cut off object": b'{"a": ',
    "not a number": b'{"a": NaN}',
    "a lone surrogate": b'{"a": "\\udc00"}',
    "a nul character": b'{"a": "\\u0000", "capsule_id": "\\u0000", "text": "\\u0000"}',
    "wrong bytes": b'{"a": "\xff\xfe"}',
    "a deep one": b'{"a": ' * 300 + b"1" + b"}" * 300,
    "a huge number": b'{"capsule_id": 1e308, "budget_tokens": 99999999999999999999999999, "limit": 1e400}',
    "wrong types": b'{"capsule_id": [], "inputs": 1, "definition": "x", "version": {}, "text": 5, "message": null}',
    "long texts": b'{"capsule_id": "' + b"x" * 100_000 + b'"}',
}
WORDS = ["x", "%00", "..", "%2e%2e%2f%2e%2e", "%F0%9F%92%A9", "a%0Ab", "'--", "%ED%A0%80", "-1", "9" * 300]


@pytest.fixture(scope="module")
def operations(api: Any) -> list[tuple[str, str]]:
    document = httpx.get(f"{api.url}/openapi.json", trust_env=False).json()
    return [
        (method, path)
        for path, methods in document["paths"].items()
        for method in methods
        if not path.startswith("/v1/probe") and "stream" not in path
    ]


def sound(answer: httpx.Response) -> None:
    """A success, or a refusal that is a problem document; 503 only where it says which part is away."""
    told = f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:400]}"
    if answer.status_code < 400 or answer.request.url.path in ("/ready", "/v1/health/redis"):
        return
    assert answer.headers["content-type"] == "application/problem+json", told
    document = answer.json()
    assert document["status"] == answer.status_code, told
    assert answer.status_code < 500 or document["code"] == "temporal_unavailable", told


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_bodies(client: httpx.Client, operations: list[tuple[str, str]], body: bytes) -> None:
    for method, path in operations:
        if method != "get":
            address = PLACE.sub(UNKNOWN, path)
            sound(client.request(method, address, content=body, headers={"Content-Type": "application/json"}))


@pytest.mark.parametrize("word", WORDS)
def test_addresses(client: httpx.Client, operations: list[tuple[str, str]], word: str) -> None:
    for method, path in operations:
        sound(client.request(method, PLACE.sub(word, path)))


@pytest.mark.parametrize("word", [*WORDS, "", "1", "true"])
def test_queries(client: httpx.Client, operations: list[tuple[str, str]], word: str) -> None:
    filters = ("status", "capsule_id", "version", "environment", "namespace", "parent_job_id", "query")
    queries = ("&".join(f"{name}={word}" for name in filters), f"limit={word}", f"cursor={word}")
    for method, path in operations:
        if method == "get":
            for query in queries:
                sound(client.get(f"{PLACE.sub(UNKNOWN, path)}?{query}"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Last-Event-ID", "x"), ("Last-Event-ID", "-1"), ("Last-Event-ID", "9" * 40), ("Range", "bytes=9-1"),
        ("Accept", "text/xml"), ("Idempotency-Key", "a b"), ("If-None-Match", "*"), ("Content-Encoding", "gzip"),
    ],
)  # fmt: skip
def test_headers(client: httpx.Client, operations: list[tuple[str, str]], name: str, value: str) -> None:
    for method, path in operations:
        sound(client.request(method, PLACE.sub(UNKNOWN, path), headers={name: value}))

"""Whatever is wrong with a request: a problem document with its own code, never a 500."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer

JSON = {"Content-Type": "application/json"}
ECHO = "/v1/probe/echo"


def test_unknown_paths(client: httpx.Client) -> None:
    for path in ("/", "/nope", "/v1", "/v1/nope", "/v1/probe", "/v1/probe/things/", "//", "/v1/probe/things/a/b/c"):
        problem(client.get(path), 404, "not_found")


def test_a_wrong_method_is_told_the_right_ones(client: httpx.Client) -> None:
    answer = client.delete("/v1/probe/things")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b'{"value": NaN}',
        b'{"value": Infinity}',
        b'{"value": "\\ud800"}',
        b'{"value": "\xff"}',
        b'{"value": 1} x',
        b"[" * 100_000,
        b'{"value": 01}',
    ],
)
def test_what_is_not_json(client: httpx.Client, body: bytes) -> None:
    answer = client.post(ECHO, content=body, headers=JSON)
    if body:
        problem(answer, 400, "malformed_json")
    else:
        problem(answer, 422, "validation_failed")


@pytest.mark.parametrize("depth", [60, 70, 500, 1_000])
def test_deep_nesting(client: httpx.Client, depth: int) -> None:
    body = b'{"value": ' + b"[" * depth + b"]" * depth + b"}"
    answer = client.post(ECHO, content=body, headers=JSON)
    if depth < 64:
        assert answer.status_code == 200
    else:
        document = problem(answer, 422, "validation_failed")
        assert document["errors"][0]["code"] == "too_deep"


def test_wide_bodies_are_not_deep(client: httpx.Client) -> None:
    answer = client.post(ECHO, json={"value": [[] for _ in range(1_000)]})
    assert answer.status_code == 200


def test_nul_characters_are_named_with_their_path(client: httpx.Client) -> None:
    body = {"value": {"list": ["fine", "bad\0"], "a\0": 1}}
    document = problem(client.post(ECHO, json=body), 422, "validation_failed")
    assert {(fault["path"], fault["code"]) for fault in document["errors"]} == {
        ("value.list[1]", "nul_character"),
        ("value", "nul_character"),
    }


def test_nul_characters_in_the_address(client: httpx.Client) -> None:
    problem(client.get("/v1/probe/things?text=a%00b"), 422, "validation_failed")
    problem(client.get("/v1/probe/things/a%00b"), 404, "not_found")


def test_every_fault_at_once(client: httpx.Client) -> None:
    body = {"number": "x", "inner": {"numbers": [1, "b"], "more": 1}, "unknown": 1}
    document = problem(client.post(ECHO, json=body), 422, "validation_failed")
    assert {(fault["path"], fault["code"]) for fault in document["errors"]} == {
        ("number", "float_parsing"),
        ("inner.numbers[1]", "int_parsing"),
        ("inner.more", "extra_forbidden"),
        ("unknown", "extra_forbidden"),
    }
    assert all(fault["detail"] for fault in document["errors"])


@pytest.mark.parametrize("body", [b"1e400", b'"1e400"', b'"NaN"', b"-1e999"])
def test_numbers_that_are_not_finite(client: httpx.Client, body: bytes) -> None:
    answer = client.post(ECHO, content=b'{"number": ' + body + b"}", headers=JSON)
    assert answer.status_code in (200, 400, 422), answer.text


def test_huge_integers(client: httpx.Client) -> None:
    answer = client.post(ECHO, content=b'{"value": 1' + b"0" * 400 + b"}", headers=JSON)
    assert answer.status_code in (200, 400, 422), answer.text


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_other_media_types(client: httpx.Client, media_type: str | None) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    problem(client.post(ECHO, content=b'{"value": 1}', headers=headers), 422, "validation_failed")


@pytest.mark.parametrize("wrong", ["0", "1", "not-a-uuid", "a" * 3_000, "%F0%28%8C%28", "%ED%A0%80", "..%2f..%2fx"])
def test_an_id_that_cannot_be_is_unknown(client: httpx.Client, wrong: str) -> None:
    problem(client.get(f"/v1/probe/things/{wrong}"), 404, "not_found")


def test_queries_out_of_range(client: httpx.Client) -> None:
    for query in ("limit=0", "limit=201", "limit=x", "limit=-1", "limit=1e9"):
        document = problem(client.get(f"/v1/probe/things?{query}"), 422, "validation_failed")
        assert document["errors"][0]["path"] == "query.limit"


def test_a_fault_of_ours_says_nothing_but_its_number(api: ApiServer, client: httpx.Client) -> None:
    answer = client.get("/v1/probe/boom")
    document = problem(answer, 500, "internal_error")
    assert "secret" not in answer.text
    lines = [json.loads(line) for line in api.log_file.read_text().splitlines() if document["request_id"] in line]
    assert [line["level"] for line in lines] == ["error"]
    assert "the secret reason" in lines[0]["exception"]


def test_announced_bodies_over_a_mebibyte(client: httpx.Client) -> None:
    fits = json.dumps({"value": "x" * (2**20 - 13)}).encode()
    assert len(fits) == 2**20
    assert client.post(ECHO, content=fits, headers=JSON).status_code == 200
    problem(client.post(ECHO, content=fits + b" ", headers=JSON), 413, "body_too_large")
    problem(client.post(ECHO, content=b"x" * 8 * 2**20, headers=JSON), 413, "body_too_large")


def test_chunked_bodies_over_a_mebibyte(client: httpx.Client) -> None:
    def chunks(count: int) -> Iterator[bytes]:
        yield b'{"value": "'
        for _ in range(count):
            yield b"x" * 65_536
        yield b'"}'

    assert client.post(ECHO, content=chunks(15), headers=JSON).status_code == 200
    problem(client.post(ECHO, content=chunks(16), headers=JSON), 413, "body_too_large")
    problem(client.post(ECHO, content=chunks(100), headers=JSON), 413, "body_too_large")


def test_a_body_that_only_announces_its_size_is_answered_at_once(api: ApiServer) -> None:
    head = (
        f"POST {ECHO} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        "Content-Length: 9999999999\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1_000).startswith(b"HTTP/1.1 413 ")


def test_ids_of_a_request(nobody: httpx.Client) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    given = {"X-Request-ID": "my-id.1:2/3", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    answer = nobody.get("/health", headers=given)
    assert answer.headers["x-request-id"] == "my-id.1:2/3"
    version, trace_id, span, flags = answer.headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", trace, "01")
    assert span != "00f067aa0ba902b7"
    assert len(span) == 16


@pytest.mark.parametrize("wrong", ["", "a b", "ü", "x" * 129, "a;b", '"'])
def test_ids_that_cannot_be_are_replaced(nobody: httpx.Client, wrong: str) -> None:
    headers = [(b"X-Request-ID", wrong.encode()), (b"traceparent", b"00-" + b"0" * 32 + b"-00f067aa0ba902b7-01")]
    answer = nobody.get("/health", headers=headers)
    assert answer.status_code == 200
    assert len(answer.headers["x-request-id"]) == 32
    assert answer.headers["traceparent"].split("-")[1] != "0" * 32


def test_faults_of_a_job_are_those_of_the_form_that_was_meant(client: httpx.Client) -> None:
    short = problem(client.post("/v1/jobs", json={"capsule_id": "x", "inputz": 1}), 422, "validation_failed")
    assert [(fault["path"], fault["code"]) for fault in short["errors"]] == [("inputz", "extra_forbidden")]
    task = {"task": "capsule.run", "payload": {"capsule_id": 5, "priority": 9}}
    long = problem(client.post("/v1/jobs", json=task), 422, "validation_failed")
    assert {fault["path"] for fault in long["errors"]} == {"payload.capsule_id", "payload.priority"}

"""Attachments: what comes in is what comes out, once, under a harmless name."""

from __future__ import annotations

import hashlib
import os
from uuid import uuid4

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from somagent.services.attachments import safe_name
from somagent.tests.api.asking import problem
from somagent.tests.api.servers import ApiServer

PATH = "/v1/attachments"
MIB = 2**20


def form(content: bytes, name: str = "notes.txt", media_type: str = "text/plain") -> dict[str, tuple[str, bytes, str]]:
    return {"file": (name, content, media_type)}


def stored(api: ApiServer) -> list[str]:
    """Every file below the attachments' folder."""
    root = api.data_dir / "attachments"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_in_and_out(api: ApiServer, client: httpx.Client) -> None:
    content = os.urandom(3 * MIB + 17)
    answer = client.post(PATH, files=form(content))
    assert answer.status_code == 201
    view = answer.json()
    assert set(view) == {"id", "name", "media_type", "bytes", "sha256", "created_at"}
    assert (view["name"], view["media_type"], view["bytes"]) == ("notes.txt", "text/plain", len(content))
    assert view["sha256"] == hashlib.sha256(content).hexdigest()
    assert answer.headers["location"] == f"{PATH}/{view['id']}"
    assert client.get(f"{PATH}/{view['id']}").json() == view
    assert client.get(PATH).json()["items"][0] == view
    download = client.get(f"{PATH}/{view['id']}/content")
    assert download.content == content
    assert download.headers["content-disposition"] == 'attachment; filename="notes.txt"'
    assert download.headers["x-content-type-options"] == "nosniff"
    assert client.get(f"{PATH}/{view['id']}/content", headers={"Range": "bytes=5-9"}).content == content[5:10]
    assert f"acme/{view['id']}/notes.txt" in stored(api)


def test_the_same_key_takes_a_file_once(api: ApiServer, client: httpx.Client) -> None:
    header, before = {"Idempotency-Key": str(uuid4())}, len(stored(api))
    first = client.post(PATH, files=form(b"once"), headers=header)
    again = client.post(PATH, files=form(b"once"), headers=header)
    assert first.content == again.content
    assert again.headers["idempotent-replayed"] == "true"
    problem(client.post(PATH, files=form(b"twice"), headers=header), 422, "idempotency_key_reused")
    assert len(stored(api)) == before + 1


def test_fifty_mebibytes_and_no_more(api: ApiServer, client: httpx.Client) -> None:
    before = stored(api)
    assert client.post(PATH, files=form(bytes(50 * MIB))).status_code == 201
    problem(client.post(PATH, files=form(bytes(50 * MIB + 1))), 413, "body_too_large")
    problem(client.post(PATH, files=form(bytes(52 * MIB))), 413, "body_too_large")
    assert len(stored(api)) == len(before) + 1


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("../../etc/passwd", "passwd"), ("..", "attachment"), ("", "attachment"), ("a\\b\\c.txt", "c.txt"),
        ("/abs.txt", "abs.txt"), (".hidden", "hidden"), ("tab\there.txt", "tabhere.txt"), ("ü.txt", "ü.txt"),
        ("x" * 300 + ".md", "x" * 197 + ".md"), ("a/..", "attachment"), ("\u202egpj.exe", "gpj.exe"),
    ],
)  # fmt: skip
def test_names(given_name: str, kept: str) -> None:
    assert safe_name(given_name) == kept


@given(st.text(max_size=400))
def test_any_name_is_one_harmless_file_name(name: str) -> None:
    safe = safe_name(name)
    assert safe
    assert not safe.startswith(".")
    assert not set(safe) & set("/\\\0\n\r")
    assert len(safe.encode()) <= 200
    assert safe_name(safe) == safe


def test_a_name_over_the_socket(client: httpx.Client) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="../..\\x/\xc3\xa9 1.html"\r\n'
        b"Content-Type: text/html; charset=utf-8\r\n\r\n<b>\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    view = client.post(PATH, content=body, headers=headers).json()
    assert (view["name"], view["media_type"], view["bytes"]) == ("é 1.html", "text/html", 3)
    download = client.get(f"{PATH}/{view['id']}/content")
    assert download.headers["content-disposition"].startswith("attachment;")
    assert "sandbox" in download.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({}, b"", 422, "validation_failed"),
        ({"Content-Type": "application/json"}, b"{}", 422, "validation_failed"),
        ({"Content-Type": "multipart/form-data"}, b"--b--", 422, "validation_failed"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"nonsense", 400, "malformed_body"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"", 400, "malformed_body"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b--\r\n", 422, "validation_failed"),
        (
            {"Content-Type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\ncut off',
            400,
            "malformed_body",
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--b--\r\n',
            422,
            "validation_failed",
        ),
        (
            {"Content-Type": "multipart/form-data; boundary=b"},
            b'--b\r\nContent-Disposition: form-data; name="other"; filename="a"\r\n\r\nx\r\n--b--\r\n',
            422,
            "validation_failed",
        ),
    ],
)
def test_forms_that_are_none(
    api: ApiServer, client: httpx.Client, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    before = stored(api)
    problem(client.post(PATH, content=body, headers=headers), status, code)
    assert stored(api) == before


def test_two_files_in_one_form(api: ApiServer, client: httpx.Client) -> None:
    before = stored(api)
    files = [("file", ("a", b"1")), ("file", ("b", b"2"))]
    document = problem(client.post(PATH, files=files), 422, "validation_failed")
    assert document["errors"] == [{"path": "file", "code": "too_many", "detail": "One request takes one file."}]
    assert stored(api) == before


def test_another_tenants_file_is_unknown(api: ApiServer, client: httpx.Client, nobody: httpx.Client) -> None:
    made = client.post(PATH, files=form(b"ours")).json()
    stranger = api.headers("beta")
    for path in (f"{PATH}/{made['id']}", f"{PATH}/{made['id']}/content"):
        problem(nobody.get(path, headers=stranger), 404, "not_found")
    assert made["id"] not in nobody.get(PATH, headers=stranger).text


def test_capabilities(api: ApiServer, nobody: httpx.Client) -> None:
    reader, writer = api.headers("acme", "ann", "job:read"), api.headers("acme", "ann", "job:submit")
    problem(nobody.post(PATH, files=form(b"x"), headers=reader), 403, "capability_missing")
    problem(nobody.get(PATH, headers=writer), 403, "capability_missing")
    problem(nobody.post(PATH, files=form(b"x")), 401, "token_missing")

"""The reference: every operation says what it needs and how it fails, and the page needs nobody else's server."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

ANY_TOKEN = re.compile(
    r"/v1/tokens/(verify|revoke)|/v1/moderation/strikes.*|/v1/users/\{user_id\}(/password|/mfa/\w+|/api-keys.*)?"
)
"""Where the endpoint itself says who may do what."""
OPEN = {
    "/v1/tokens/issue", "/tokens/issue", "/v1/login/oidc", "/v1/login/oidc/callback", "/health", "/ready", "/metrics",
    "/v1/health/redis", "/.well-known/jwks.json", "/v1/probe/boom",
}  # fmt: skip


@pytest.fixture
def document(nobody: httpx.Client) -> dict[str, Any]:
    loaded: dict[str, Any] = nobody.get("/openapi.json").json()
    return loaded


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_version(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "SomaGent"


def test_every_operation_documents_its_errors(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        for status in ("4XX", "5XX"):
            schema = operation["responses"][status]["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/Problem"}, (path, method)
    assert "HTTPValidationError" not in json.dumps(document)
    assert set(document["components"]["schemas"]["Problem"]["required"]) >= {"type", "title", "status", "code"}


def test_every_operation_says_what_it_needs(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        if path in OPEN:
            assert "security" not in operation, path
        else:
            assert operation["security"] == [{"bearer": []}], (path, method)
            if "x-capability" not in operation:
                assert ANY_TOKEN.fullmatch(path), (path, method)
                continue
            assert operation["x-capability"] in operation["description"], (path, method)
    scheme = document["components"]["securitySchemes"]["bearer"]
    assert (scheme["type"], scheme["scheme"], scheme["bearerFormat"]) == ("http", "bearer", "JWT")


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert name in document["components"]["schemas"], name


def test_ids_of_operations_are_unique(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))


def test_what_the_reference_lists_is_there(nobody: httpx.Client, document: dict[str, Any]) -> None:
    for path, method, _ in operations(document):
        if path not in OPEN and method == "get":
            answer = nobody.get(re.sub(r"\{[^}]+\}", "00000000-0000-4000-8000-000000000000", path))
            assert answer.status_code == 401, path


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_page_has_everything_itself(nobody: httpx.Client) -> None:
    page = nobody.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    links = _Links()
    links.feed(page.text)
    assert len(links.found) >= 3
    for link in links.found:
        assert link.startswith("/docs/assets/")
        answer = nobody.get(link)
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] in ("text/css", "text/javascript")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert nobody.get("/docs/assets/../../../pyproject.toml").status_code == 404
    assert nobody.get("/docs/assets/redoc.standalone.js").status_code == 404

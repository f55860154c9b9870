"""The OpenAPI 3.1 document: FastAPI's own, with the error that every operation can answer and what each one needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from somagent.api.problems import MEDIA_TYPE, Problem
from somagent.api.security import Requires

DESCRIPTION: Final = """Governed agent work: task capsules, executed as durable Temporal workflows.

Times are UTC, RFC 3339 with six decimals and `Z`. Lists are paged: `limit`, `cursor`, newest first. Every creating
POST takes `Idempotency-Key`. Every error is a problem document (RFC 9457) with a stable `code`; 422 has every fault
at once in `errors`. `X-Request-ID` and `traceparent` come back with every answer.
"""
_ANY_STATUS: Final = {"4XX": "The request was refused", "5XX": "Something of ours, or outside, failed"}


def build_openapi(app: FastAPI, routes: Sequence[APIRoute]) -> dict[str, Any]:
    """The document, made at the first call and kept."""
    if app.openapi_schema is None:
        app.openapi_schema = _build(app, routes)
    return app.openapi_schema


def _build(app: FastAPI, routes: Sequence[APIRoute]) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs", {}))
    schemas["Problem"] = problem
    needed = dict(_capabilities(routes))
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _document_errors(operation)
            if capability := needed.get((path, method)):
                _document_capability(operation, capability)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _document_errors(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, description in _ANY_STATUS.items():
        responses.setdefault(status, {"description": description, "content": content})


def _document_capability(operation: dict[str, Any], capability: str) -> None:
    operation["x-capability"] = capability
    text = operation.get("description", "")
    operation["description"] = f"{text}\n\nNeeds the capability `{capability}`.".strip()


def _capabilities(routes: Sequence[APIRoute]) -> Iterator[tuple[tuple[str, str], str]]:
    for route in routes:
        for dependant in _flat(route.dependant):
            if isinstance(dependant.call, Requires) and dependant.call.capability is not None:
                for method in route.methods or ():
                    yield (route.path_format, method.lower()), dependant.call.capability.value


def _flat(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _flat(inner)

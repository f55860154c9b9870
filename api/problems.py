"""Errors as RFC 9457 problem details: the only place that maps a category to a status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from math import ceil
from typing import Final

import orjson
from pydantic import Field
from starlette.responses import Response

from somagent.domain.errors import Category, Code, Fault, SomaError
from somagent.domain.model import Model

MEDIA_TYPE: Final = "application/problem+json"

STATUS_OF: Final[Mapping[Category, int]] = {
    Category.MALFORMED: 400,
    Category.INVALID: 422,
    Category.UNAUTHENTICATED: 401,
    Category.FORBIDDEN: 403,
    Category.NOT_FOUND: 404,
    Category.CONFLICT: 409,
    Category.TOO_LARGE: 413,
    Category.REFUSED: 403,
    Category.LIMITED: 429,
    Category.EXHAUSTED: 409,
    Category.UNAVAILABLE: 503,
    Category.EXTERNAL: 502,
    Category.TIMEOUT: 504,
    Category.INTERNAL: 500,
}
_OWN_STATUS: Final[Mapping[Code, int]] = {Code.METHOD_NOT_ALLOWED: 405}
_RETRY_AFTER: Final[Mapping[int, float]] = {429: 1, 503: 2}
"""Seconds to wait where the error itself does not say."""

_OPENAI_PATHS: Final = ("/v1/chat/", "/v1/models")


class FaultView(Model):
    """One fault of the request."""

    path: str = Field(description="Where, as in `workflow.steps[2].params.url`; empty: the whole body")
    code: str
    detail: str


class OpenAIError(Model):
    """The same error where OpenAI's clients look for it."""

    message: str
    type: str
    param: None = None
    code: str


class Problem(Model):
    """What every error answers (RFC 9457)."""

    type: str = Field(description="`urn:somagent:problem:` and the code")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked")
    code: str = Field(description="Stable, for programs")
    request_id: str
    errors: list[FaultView] | None = Field(default=None, description="With 422: every fault at once")
    error: OpenAIError | None = Field(default=None, description="On OpenAI-compatible endpoints, for their clients")


def status_of(error: SomaError) -> int:
    """The HTTP status that an error answers with."""
    return _OWN_STATUS.get(error.code, STATUS_OF[error.category])


def problem_body(error: SomaError, *, instance: str, request_id: str) -> bytes:
    """The problem document as JSON."""
    status = status_of(error)
    document: dict[str, object] = {
        "type": f"urn:somagent:problem:{error.code}",
        "title": title_of(error.code, status),
        "status": status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "request_id": request_id,
    }
    if error.errors or status == HTTPStatus.UNPROCESSABLE_ENTITY:
        document["errors"] = _faults(error.errors)
    if instance.startswith(_OPENAI_PATHS):
        kind = "api_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
        document["error"] = {"message": error.detail, "type": kind, "param": None, "code": error.code}
    return orjson.dumps(document)


def problem_response(error: SomaError, *, instance: str, request_id: str) -> Response:
    """The whole answer, with the headers that its status asks for."""
    return Response(
        problem_body(error, instance=instance, request_id=request_id),
        status_code=status_of(error),
        headers=problem_headers(error),
        media_type=MEDIA_TYPE,
    )


def problem_headers(error: SomaError) -> dict[str, str]:
    """WWW-Authenticate with 401, Retry-After with 429, 503 and whatever error knows when to come back."""
    status = status_of(error)
    headers: dict[str, str] = {}
    if status == HTTPStatus.UNAUTHORIZED:
        challenge = "Bearer"
        if error.code is not Code.TOKEN_MISSING:
            challenge += ', error="invalid_token"'
        headers["WWW-Authenticate"] = challenge
    wait = error.retry_after if error.retry_after is not None else _RETRY_AFTER.get(status)
    if wait is not None:
        headers["Retry-After"] = str(max(1, ceil(wait)))
    return headers


def title_of(code: Code, status: int) -> str:
    """A short name of the kind of problem, the same at every occurrence."""
    words = code.replace("_", " ")
    return words[:1].upper() + words[1:] if words else HTTPStatus(status).phrase


def _faults(faults: Sequence[Fault]) -> list[dict[str, str]]:
    return [{"path": fault.path, "code": fault.code, "detail": fault.detail} for fault in faults]

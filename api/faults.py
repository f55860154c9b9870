"""Everything that can go wrong in a request, turned into one kind of answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from somagent.api.problems import problem_response
from somagent.domain.errors import Code, Fault, SomaError

_log = structlog.get_logger("somagent.api")

_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
)
_AGAIN = (asyncpg.exceptions.TransactionRollbackError,)
_NOT_IN_TEXT = "A text holds the character U+0000, which cannot be kept."


def install_handlers(app: FastAPI) -> None:
    """Register a handler for each family of errors."""
    app.add_exception_handler(SomaError, _on_soma_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for family in (DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError):
        app.add_exception_handler(family, _on_database_error)


def respond(request: Request, error: SomaError) -> Response:
    """The problem document for a request."""
    return problem_response(error, instance=request.url.path, request_id=request.scope.get("soma.request_id", ""))


def internal_error() -> SomaError:
    """What people are told of a fault of ours; what happened stays in the log."""
    return SomaError(
        Code.INTERNAL_ERROR,
        "Something failed on our side. The operator finds it in the log under this answer's request_id.",
    )


async def _on_soma_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SomaError)  # noqa: S101 - registered for this class
    return respond(request, error)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    return respond(request, refusal_of(error.errors()))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    if isinstance(error.__cause__, SomaError):
        return respond(request, error.__cause__)
    if isinstance(error.__cause__, RequestValidationError):
        return respond(request, refusal_of(error.__cause__.errors()))
    match error.status_code:
        case 404:
            refusal = SomaError(Code.NOT_FOUND, f"There is nothing at {request.url.path}.")
        case 405:
            refusal = SomaError(Code.METHOD_NOT_ALLOWED, f"{request.method} is not possible on {request.url.path}.")
        case 400:
            refusal = SomaError(Code.MALFORMED_BODY, "The body cannot be read. Send JSON in UTF-8.")
        case 413:
            refusal = SomaError(Code.BODY_TOO_LARGE, "The body is too large.")
        case _:
            raise error
    response = respond(request, refusal)
    response.headers.update(error.headers or {})
    return response


async def _on_database_error(request: Request, error: Exception) -> Response:
    refusal = database_refusal(error)
    if refusal is None:
        raise error
    return respond(request, refusal)


def database_refusal(error: BaseException) -> SomaError | None:
    """What a driver's error means to people; None where it is a fault of ours."""
    cause = error
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return _database_away()
        cause = getattr(error.orig, "__cause__", None) or error
    if isinstance(cause, (*_AWAY, asyncpg.InterfaceError)):
        return _database_away()
    if isinstance(cause, _AGAIN):
        return SomaError(
            Code.DATABASE_UNAVAILABLE, "The request met another one on the same rows. Try again.", retry_after=1
        )
    if isinstance(
        cause, asyncpg.exceptions.CharacterNotInRepertoireError | asyncpg.exceptions.UntranslatableCharacterError
    ):
        return SomaError(Code.VALIDATION_FAILED, _NOT_IN_TEXT, errors=[Fault("", "nul_character", _NOT_IN_TEXT)])
    return None


def _database_away() -> SomaError:
    return SomaError(
        Code.DATABASE_UNAVAILABLE, "Postgres does not answer. Nothing was changed; try again shortly.", retry_after=2
    )


def refusal_of(errors: Sequence[Mapping[str, Any]]) -> SomaError:
    """FastAPI's validation errors as one refusal: unreadable, unknown object, or every fault at once."""
    for error in errors:
        if error["type"] == "json_invalid":
            return _malformed(error)
        if error["loc"] and error["loc"][0] == "path":
            return SomaError(Code.NOT_FOUND, "There is no such object.")
    faults = [_fault(error) for error in errors]
    return SomaError(
        Code.VALIDATION_FAILED,
        f"The request has {len(faults)} fault{'s' if len(faults) != 1 else ''}: "
        + "; ".join(f"{fault.path or 'body'}: {fault.detail}" for fault in faults[:3])
        + (" ..." if len(faults) > 3 else ""),
        errors=faults,
    )


def _malformed(error: Mapping[str, Any]) -> SomaError:
    position = error["loc"][1] if len(error["loc"]) > 1 else 0
    reason = str(error.get("ctx", {}).get("error", "")).partition(":")[0][:200]
    return SomaError(Code.MALFORMED_JSON, f"The body is not valid JSON at byte {position}: {reason}.")


def _fault(error: Mapping[str, Any]) -> Fault:
    place, *rest = error["loc"] or ("body",)
    path = path_text(rest if place == "body" else error["loc"])
    return Fault(path=path, code=str(error["type"]), detail=str(error["msg"])[:500])


def path_text(parts: Sequence[str | int]) -> str:
    """``("steps", 2, "url")`` as ``steps[2].url``.

    A part that begins with ``~`` is the tag of a union's form (``Tag("~short")``), which no sender has written.
    """
    text = ""
    for part in parts:
        if isinstance(part, str) and part.startswith("~"):
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text

"""Routes of the hot path: a caller and a body, read without FastAPI's own machinery for dependencies.

FastAPI still documents them from the endpoint's signature, which is ``(request, body, caller)``.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from somagent.api.body import Handler, StrictRequest, StrictRoute
from somagent.api.security import Requires
from somagent.domain.caller import Caller

Endpoint = Callable[[Request, BaseModel, Caller], Awaitable[Response]]
_NOT_FINITE: Final = (b"NaN", b"Infinity")


class DirectRoute(StrictRoute):
    """Calls its endpoint with the request, its body and its caller, once the caller is known to be allowed."""

    def get_route_handler(self) -> Handler:
        """The handler.

        Raises:
            TypeError: the endpoint has another signature.
        """
        field = self.body_field
        required = [found.call for found in self.dependant.dependencies if isinstance(found.call, Requires)]
        model = None if field is None else field.field_info.annotation
        if len(required) != 1 or not (isinstance(model, type) and issubclass(model, BaseModel)):
            raise TypeError(f"{self.path}: a direct route takes a request, one body and one caller")
        requirement, endpoint = required[0], cast("Endpoint", self.endpoint)

        async def direct(request: Request) -> Response:
            caller = await requirement(request)
            try:
                body = model.model_validate(await _document(request))
            except ValidationError as error:
                raise RequestValidationError(
                    [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
                ) from error
            return await endpoint(request, body, caller)

        return direct


async def _document(request: Request) -> Any:
    """The parsed body; numbers that are not finite are left to the model, which says where they stand.

    Raises:
        RequestValidationError: it cannot be read.
    """
    strict = StrictRequest(request.scope, request.receive)
    try:
        return await strict.json()
    except orjson.JSONDecodeError as error:
        document = _with_infinities(await strict.body())
        if document is None:
            raise RequestValidationError(
                [{"type": "json_invalid", "loc": ("body", error.pos), "msg": "JSON decode error", "input": {},
                  "ctx": {"error": error.msg}}]
            ) from error  # fmt: skip
        return document


def _with_infinities(raw: bytes) -> Any:
    """The body as a laxer reader has it, where that finds a number that is not finite; else None."""
    try:
        document = json.loads(raw)
        finite = orjson.loads(orjson.dumps(document)) == document
    except (ValueError, TypeError, RecursionError):
        return None
    return None if finite else document

"""Routes of the hot path: a caller and a body, read without FastAPI's own machinery for dependencies.

FastAPI still documents them from the endpoint's signature, which is ``(request, body, caller)``.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from somagent.api.body import Handler, StrictRequest, StrictRoute
from somagent.api.security import Requires
from somagent.domain.caller import Caller

Endpoint = Callable[[Request, BaseModel, Caller], Awaitable[Response]]


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
            return await endpoint(request, await _body(request, model), caller)

        return direct


async def _body(request: Request, model: type[BaseModel]) -> BaseModel:
    """The body as the model has it.

    Numbers that are not finite are no JSON; where the model has a say about them it says where they stand.

    Raises:
        RequestValidationError: it cannot be read, or does not fit.
    """
    strict = StrictRequest(request.scope, request.receive)
    try:
        return _validated(model, await strict.json())
    except orjson.JSONDecodeError as error:
        with suppress(ValueError, RecursionError):
            _validated(model, json.loads(await strict.body()))
        unreadable = {"type": "json_invalid", "loc": ("body", error.pos), "msg": "JSON decode error", "input": {}}
        raise RequestValidationError([{**unreadable, "ctx": {"error": error.msg}}]) from error


def _validated(model: type[BaseModel], document: object) -> BaseModel:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        ) from error

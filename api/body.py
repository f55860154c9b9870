"""Reading JSON bodies strictly: what no part of ours could keep is refused here, before anything sees it."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from typing import Any, ClassVar, Final

import orjson
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from somagent.api.security import Requires

DEEPEST: Final = 64
"""Levels of nesting that a body may have."""
_NUL: Final = b"\\u0000"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class StrictRequest(Request):
    """A request whose JSON follows RFC 8259 to the letter: no NaN, no lone surrogates, UTF-8 only.

    orjson's own error is a ``json.JSONDecodeError``, which FastAPI reports as unreadable JSON.
    """

    async def json(self) -> Any:
        """The parsed body.

        Raises:
            RequestValidationError: it is nested too deeply, or a text holds U+0000.
        """
        if not hasattr(self, "_json"):
            raw = await self.body()
            parsed = orjson.loads(raw)
            if raw.count(b"[") + raw.count(b"{") > DEEPEST and _is_too_deep(parsed):
                raise RequestValidationError(
                    [_fault((), "too_deep", f"The body is nested deeper than {DEEPEST} levels")]
                )
            if _NUL in raw and (faults := list(_nul_faults(parsed))):
                raise RequestValidationError(faults)
            self._json = parsed
        return self._json


class StrictRoute(APIRoute):
    """A route that reads its body through :class:`StrictRequest`."""

    request_class: ClassVar[type[StrictRequest]] = StrictRequest

    def get_route_handler(self) -> Handler:
        """FastAPI's handler; only routes with a body pay for the stricter request."""
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler

        required = [found.call for found in self.dependant.dependencies if isinstance(found.call, Requires)]

        async def strict(request: Request) -> Response:
            for requirement in required:  # FastAPI asks after the body; who may not come in learns nothing about it
                await requirement(request)
            return await handler(self.request_class(request.scope, request.receive))

        return strict


class _AnyNumberRequest(StrictRequest):
    """As :class:`StrictRequest`, but NaN and the infinities reach the model, which says where they stand."""

    async def json(self) -> Any:
        """The parsed body; raises as the strict one does."""
        try:
            return await super().json()
        except orjson.JSONDecodeError:
            with suppress(ValueError, RecursionError):
                self._json = json.loads(await self.body())
                return self._json
            raise


class AnyNumberRoute(StrictRoute):
    """For bodies whose numbers are judged by the service, all faults at once."""

    request_class = _AnyNumberRequest


def _is_too_deep(parsed: object) -> bool:
    level: list[object] = [parsed]
    for _ in range(DEEPEST):
        level = [child for value in level for child in _children(value) if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _nul_faults(parsed: object) -> Iterator[dict[str, Any]]:
    """Walked without recursion: where a text or a name holds U+0000."""
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), parsed)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            if "\0" in value:
                yield _fault(path, "nul_character", "A text cannot hold the character U+0000")
        elif isinstance(value, list):
            waiting.extend(((*path, index), item) for index, item in enumerate(value))
        elif isinstance(value, dict):
            if any("\0" in name for name in value):
                yield _fault(path, "nul_character", "A name cannot hold the character U+0000")
            waiting.extend(((*path, name), item) for name, item in value.items() if "\0" not in name)


def _fault(path: tuple[str | int, ...], kind: str, message: str) -> dict[str, Any]:
    return {"type": kind, "loc": ("body", *path), "msg": message, "input": None}

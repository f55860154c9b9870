"""Finding a request's route by its first words, instead of asking every route of the API in turn.

FastAPI tries its routes one after another, and a router that was included costs more than the work of a status
question once there are a hundred routes (measured: a third of `GET /v1/jobs/{id}` with eleven routers). Here the routes
are shelved by the literal beginning of their templates and by how many segments they have; only those few are tried.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.convertors import PathConvertor
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

_CHOSEN: Final = "soma.route"
_ALLOWED: Final = "soma.allowed"

Shelf = list[APIRoute]


class Switchboard(BaseRoute):
    """All routes of some routers as one route."""

    def __init__(self, routers: Iterable[APIRouter]) -> None:
        """Every path of a router is whole: nothing is put before it.

        Raises:
            TypeError: a router holds something else than plain routes.
        """
        self.routes: list[APIRoute] = []
        self._by_length: dict[tuple[str, int], Shelf] = {}
        self._of_any_length: dict[str, Shelf] = {}
        for router in routers:
            for route in router.routes:
                if not isinstance(route, APIRoute):
                    raise TypeError(f"{route!r} is no APIRoute")
                self._shelve(route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """The route that fits path and method, else those that fit the path alone."""
        if scope["type"] != "http":
            return Match.NONE, {}
        allowed: set[str] = set()
        for route in self._candidates(scope["path"]):
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                child_scope[_CHOSEN] = route
                return match, child_scope
            if match is Match.PARTIAL:
                allowed |= route.methods or set()
        return (Match.PARTIAL, {_ALLOWED: ", ".join(sorted(allowed))}) if allowed else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve by the route that was found.

        Raises:
            HTTPException: 405 with the methods that the path has.
        """
        route: APIRoute | None = scope.get(_CHOSEN)
        if route is None:
            raise HTTPException(405, headers={"Allow": scope[_ALLOWED]})
        await route.app(scope, receive, send)

    def _shelve(self, route: APIRoute) -> None:
        self.routes.append(route)
        prefix = _literal_prefix(route.path_format)
        if any(isinstance(convertor, PathConvertor) for convertor in route.param_convertors.values()):
            self._of_any_length.setdefault(prefix, []).append(route)
        else:
            self._by_length.setdefault((prefix, route.path_format.count("/")), []).append(route)

    def _candidates(self, path: str) -> Iterable[APIRoute]:
        first_end = path.find("/", 1)
        if first_end < 0:
            return self._shelf(path, path)
        second_end = path.find("/", first_end + 1)
        two = path if second_end < 0 else path[:second_end]
        return (*self._shelf(two, path), *self._shelf(path[:first_end], path))

    def _shelf(self, prefix: str, path: str) -> Iterable[APIRoute]:
        exact = self._by_length.get((prefix, path.count("/")), [])
        long = self._of_any_length.get(prefix)
        return exact if long is None else [*exact, *long]


def _literal_prefix(template: str) -> str:
    """The first two segments, or the first alone where the second is a parameter."""
    segments = template.split("/")[1:3]
    if "{" in segments[0]:
        raise TypeError(f"{template} begins with a parameter")
    literal = [segment for segment in segments if "{" not in segment]
    return "/" + "/".join(literal)

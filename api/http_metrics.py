"""Counting requests by route template, so that no address makes a series of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fastapi.routing import APIRoute
from starlette.types import Scope

from somagent.adapters import metrics

_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
JOBS: Final = "jobs"

Observe = Callable[[float], None]


class HttpMetrics:
    """Counts answers. The series of each route, method and status are looked up once and kept."""

    def __init__(self) -> None:
        self._series: dict[tuple[int, str, int], Observe] = {}

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one answer."""
        route = scope.get("route")
        key = (id(route), scope["method"], status)
        observe = self._series.get(key)
        if observe is None:
            observe = _series_of(route, scope["method"], status)
            if scope["method"] in _METHODS:
                self._series[key] = observe
        observe(seconds)


def _series_of(route: object, method: str, status: int) -> Observe:
    template, service = "unmatched", "none"
    if isinstance(route, APIRoute):
        template = route.path
        service = str(route.tags[0]) if route.tags else "api"
    method = method if method in _METHODS else "OTHER"
    answered = metrics.http_requests_total.labels(service, method, template, str(status))
    latency = metrics.http_request_duration_seconds.labels(service, method, template)
    jobs = metrics.jobs_requests_total.labels(method, template, str(status)) if service == JOBS else None

    def observe(seconds: float) -> None:
        answered.inc()
        latency.observe(seconds)
        if jobs is not None:
            jobs.inc()

    return observe

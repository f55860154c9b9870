"""The outermost layer of every request: ids, limits, metrics and the last resort. Plain ASGI, for speed."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from time import perf_counter
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from somagent.api.bodylimit import BODY_LIMIT, limited_receive
from somagent.api.faults import internal_error
from somagent.api.http_metrics import HttpMetrics
from somagent.api.problems import problem_response
from somagent.domain.errors import Code, Fault, SomaError
from somagent.services.audit.origin import ORIGIN, Origin

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}\Z")
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})\Z")

_log = structlog.get_logger("somagent.api")


class Edge:
    """Gives each request its ids, and makes sure that whatever happens is answered, counted and logged once."""

    def __init__(
        self, app: ASGIApp, *, metrics: HttpMetrics, body_limits: Mapping[str, int], access_log: bool = False
    ) -> None:
        """``body_limits``: bytes by path, where they are not :data:`BODY_LIMIT`."""
        self._app = app
        self._body_limits = body_limits
        self._metrics = metrics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send, self._metrics)
        try:
            if refusal := _refusal_of_target(scope):
                raise refusal
            limit = self._body_limits.get(scope["path"], BODY_LIMIT)
            await self._app(scope, await limited_receive(scope, receive, limit), exchange.send)
        except SomaError as error:
            await exchange.answer(error, receive)
        except Exception as error:
            _log.exception("request failed", request_id=exchange.request_id, path=scope["path"], error=repr(error))
            if exchange.started:
                raise
            await exchange.answer(internal_error(), receive)
        if self._access_log:
            _log.debug("request", **exchange.summary())


class _Exchange:
    """One request and its answer."""

    __slots__ = ("_metrics", "_scope", "_send", "_start", "request_id", "started", "status", "traceparent")

    def __init__(self, scope: Scope, send: Send, metrics: HttpMetrics) -> None:
        self._scope = scope
        self._send = send
        self._metrics = metrics
        self._start = perf_counter()
        self.started = False
        self.status = 0
        request_id = traceparent = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                request_id = value
            elif name == b"traceparent":
                traceparent = value
        made = os.urandom(40).hex().encode("ascii")
        self.request_id = request_id if _REQUEST_ID.match(request_id) else made[:32]
        trace = _TRACEPARENT.match(traceparent)
        trace_id, flags = (trace[1], trace[2]) if trace else (made[32:64], b"01")
        self.traceparent = b"00-%b-%b-%b" % (trace_id, made[64:80], flags)
        scope["soma.headers"] = []  # of the answer, whatever it will be
        scope["soma.request_id"] = self.request_id.decode("ascii")
        scope["soma.traceparent"] = self.traceparent.decode("ascii")
        ORIGIN.set(Origin(scope["soma.request_id"], trace_id.decode("ascii")))

    async def send(self, message: Message) -> None:
        """Pass the answer on, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                *self._scope["soma.headers"],
                (b"x-request-id", self.request_id),
                (b"traceparent", self.traceparent),
                (b"x-content-type-options", b"nosniff"),
            ]
            self._metrics.count(self._scope, self.status, perf_counter() - self._start)
        await self._send(message)

    async def answer(self, error: SomaError, receive: Receive) -> None:
        """Answer with a problem document."""
        response = problem_response(error, instance=self._scope["path"], request_id=self.request_id.decode("ascii"))
        await response(self._scope, receive, self.send)

    def summary(self) -> dict[str, object]:
        """What the access log keeps; never a header or a query, which may hold secrets."""
        return {
            "request_id": self.request_id.decode("ascii"),
            "method": self._scope["method"],
            "path": self._scope["path"],
            "status": self.status,
            "milliseconds": round((perf_counter() - self._start) * 1000, 2),
        }


def _refusal_of_target(scope: Scope) -> SomaError | None:
    """U+0000 in the address: Postgres keeps it in no text."""
    if "\0" in scope["path"]:
        return SomaError(Code.NOT_FOUND, "There is no such object.")
    if b"%00" in scope["query_string"]:
        detail = "A query parameter holds the character U+0000, which no value can have."
        return SomaError(Code.VALIDATION_FAILED, detail, errors=[Fault("query", "nul_character", detail)])
    return None

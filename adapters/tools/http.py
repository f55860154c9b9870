"""http.request: one exchange with a web address, redirects included."""

from __future__ import annotations

import asyncio
import base64
import json
import re

import httpcore
import httpx
from pydantic import BaseModel, JsonValue

from somagent.adapters.egress import EgressRules, Target
from somagent.adapters.egress_transport import EgressTransport
from somagent.adapters.tools.heartbeat import beating
from somagent.adapters.tools.jsonvalue import parse_json
from somagent.adapters.tools.port import ToolContext
from somagent.domain.actions.remote import HttpRequestOutput, HttpRequestParams
from somagent.domain.errors import Code, SomaError

MAX_RESPONSE_BYTES = 5 * 1024 * 1024
MAX_REDIRECTS = 5

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# The connection's own headers are ours to set; another Host would name a server that was never checked.
_RESERVED = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
# What may go on to another origin when a redirect leads there: nothing that could be a secret.
_TRAVELLING = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "user-agent",
    }
)
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class HttpTool:
    """Asks web addresses that the egress rules allow.

    An answer is an answer, whatever its status: 404 and 503 are outputs too, and the capsule decides what they mean.
    Proxies from the environment are not used. Redirects are followed, at most five, each checked like the first.
    """

    def __init__(self, rules: EgressRules) -> None:
        self._rules = rules
        self._transport: EgressTransport | None = None

    async def execute(self, verb: str, params: BaseModel, context: ToolContext) -> BaseModel:
        """Run ``http.request``.

        The body is parsed where the answer says it is JSON and it is, else given as text by the charset it names
        (UTF-8 where none); what is not text stands as ``{"base64": ...}``.

        Raises:
            SomaError: EGRESS_REFUSED; PARAMS_INVALID; HTTP_FAILED (retryable) where no whole answer came in
                ``context.timeout_seconds``; RESPONSE_TOO_LARGE over 5 MiB.
        """
        if not isinstance(params, HttpRequestParams):
            raise SomaError(Code.PARAMS_INVALID, f"http has no action {verb!r}.")
        target = self._rules.target(params.url)
        try:
            async with beating(context.heartbeat), asyncio.timeout(context.timeout_seconds):
                return await self._exchange(params, context.effect_key)
        except TimeoutError:
            raise SomaError(
                Code.HTTP_FAILED, f"{target.host!r} gave no whole answer in {context.timeout_seconds:g} seconds."
            ) from None
        except httpx.InvalidURL as error:
            raise await self._unreadable(target, error) from None
        except (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol) as error:
            raise SomaError(
                Code.EGRESS_REFUSED, f"{target.host!r} leads to a scheme that is refused: {error}."
            ) from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, httpx.HTTPError) as error:
            reason = str(error) or type(error).__name__
            raise SomaError(Code.HTTP_FAILED, f"The exchange with {target.host!r} failed: {reason}.") from None

    async def close(self) -> None:
        """Close connections that are kept open."""
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None

    async def _unreadable(self, target: Target, error: httpx.InvalidURL) -> SomaError:
        """Why a URL that httpx cannot read fails; hosts like 0177.0.0.1 are refused for where they lead."""
        try:
            await self._rules.resolve(target.host, target.port)
        except SomaError as refused:
            return refused
        except OSError:
            pass
        return SomaError(Code.PARAMS_INVALID, f"The URL cannot be read: {error}.")

    async def _exchange(self, params: HttpRequestParams, effect_key: str) -> HttpRequestOutput:
        if self._transport is None:
            self._transport = EgressTransport(self._rules)
        # One client an exchange, so that cookies of one job never reach another; connections are shared.
        client = httpx.AsyncClient(transport=self._transport, trust_env=False, timeout=None)  # noqa: S113 - one deadline
        request = client.build_request(
            params.method, params.url, content=_content(params.body), headers=_headers(params, effect_key)
        )
        for _ in range(MAX_REDIRECTS + 1):
            self._rules.target(str(request.url))
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                if response.next_request is None:
                    return await _output(response)
                request = _careful(response.next_request, request)
            finally:
                await response.aclose()
        raise SomaError(Code.HTTP_FAILED, f"More than {MAX_REDIRECTS} redirects.", retryable=False)


def _content(body: JsonValue) -> bytes | None:
    if body is None:
        return None
    if isinstance(body, str):
        return body.encode()
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()


def _headers(params: HttpRequestParams, effect_key: str) -> httpx.Headers:
    headers = httpx.Headers({"user-agent": "SomaGent", "accept": "*/*", "accept-encoding": "gzip, deflate"})
    if params.body is not None:
        headers["content-type"] = (
            "text/plain; charset=utf-8" if isinstance(params.body, str) else "application/json; charset=utf-8"
        )
    if params.method not in _SAFE_METHODS:
        headers["idempotency-key"] = effect_key
    for name, value in params.headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise SomaError(Code.PARAMS_INVALID, f"The header {name!r} has characters that no header can.")
        if name.lower() in _RESERVED or name.lower().startswith("proxy-"):
            raise SomaError(Code.PARAMS_INVALID, f"The header {name!r} is the connection's own and cannot be given.")
        headers[name] = value
    return headers


def _careful(next_request: httpx.Request, request: httpx.Request) -> httpx.Request:
    """The redirected request, without the caller's headers where it goes to another origin."""
    if _origin(next_request.url) != _origin(request.url):
        for name in set(next_request.headers) - _TRAVELLING:
            del next_request.headers[name]
    return next_request


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


async def _output(response: httpx.Response) -> HttpRequestOutput:
    content = bytearray()
    async for part in response.aiter_bytes():
        content += part
        if len(content) > MAX_RESPONSE_BYTES:
            raise SomaError(
                Code.RESPONSE_TOO_LARGE, f"{response.url.host!r} answered more than {MAX_RESPONSE_BYTES:,} bytes."
            )
    headers = {name: value for name, value in response.headers.items() if "\0" not in value}
    return HttpRequestOutput(status=response.status_code, headers=headers, body=_body(response, bytes(content)))


def _body(response: httpx.Response, content: bytes) -> JsonValue:
    try:
        text = content.decode(response.charset_encoding or "utf-8")
        text.encode()  # some charsets give lone surrogates, which no store takes
    except (UnicodeError, LookupError):
        return {"base64": base64.b64encode(content).decode()}
    if "\0" in text:
        return {"base64": base64.b64encode(content).decode()}
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "application/json" or media_type.endswith("+json"):
        try:
            return parse_json(text)
        except ValueError:
            return text
    return text

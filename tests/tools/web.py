"""The outside party of the http tests: a small web server on a real socket."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Web:
    """Where the server listens, and what it was asked."""

    port: int
    scheme: str = "http"
    asked: list[dict[str, object]] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """An address on it."""
        return f"{self.scheme}://{host}:{self.port}{path}"


@contextmanager
def serve(context: ssl.SSLContext | None = None) -> Iterator[Web]:
    """A server on a free port of 127.0.0.1 until the block is left."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    web = Web(server.server_port, "https" if context else "http")
    server.web = web  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        web: Web = self.server.web  # type: ignore[attr-defined]
        asked: dict[str, object] = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": body,
        }
        web.asked.append(asked)
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match parts.path:
            case "/echo":
                self._send(200, json.dumps(asked).encode(), "application/json")
            case "/status":
                self._send(int(query["code"]), b"as asked", "text/plain", {"Retry-After": "7"})
            case "/redirect":
                self._send(int(query.get("code", "302")), b"", "text/plain", {"Location": unquote(query["to"])})
            case "/loop":
                self._send(302, b"", "text/plain", {"Location": "/loop"})
            case "/large":
                self._send(200, b"x" * (6 * 1024 * 1024), "text/plain")
            case "/bomb":
                packed = gzip.compress(b"x" * (100 * 1024 * 1024), 1)
                self._send(200, packed, "text/plain", {"Content-Encoding": "gzip"})
            case "/slow":
                time.sleep(float(query["seconds"]))
                self._send(200, b"late", "text/plain")
            case "/drip":
                self._drip()
            case "/broken":
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
                self.close_connection = True
            case "/raw":
                self._send(200, bytes.fromhex(query["hex"]), query["type"])
            case _:
                self._send(404, b"none", "text/plain")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815

    def _send(self, status: int, body: bytes, media_type: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": media_type, "Set-Cookie": "seen=1", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self._write(body)

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(200):
            self._write(b".")
            time.sleep(0.05)
        self.close_connection = True

    def _write(self, body: bytes) -> None:
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return

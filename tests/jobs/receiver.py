"""An outside party that capsules write to: a web server on a real socket, which counts and can be made to wait."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as it came in."""

    method: str
    path: str
    key: str | None
    body: str


@dataclass
class Receiver:
    """Answers every request with what it was asked; paths that begin with ``/held`` wait until released."""

    port: int = 0
    calls: list[Call] = field(default_factory=list)
    _released: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                call = Call(self.command, self.path, self.headers.get("idempotency-key"), body)
                receiver.calls.append(call)
                if self.path.startswith("/held"):
                    receiver._released.wait(120)
                asked: dict[str, Any] = {"method": call.method, "path": call.path, "key": call.key, "body": body}
                answer = json.dumps(asked).encode()
                self.send_response(503 if self.path.startswith("/503") else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                try:
                    self.wfile.write(answer)
                except OSError:
                    self.close_connection = True

            do_GET = do_POST = do_PUT = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str) -> str:
        """An address on it."""
        return f"http://127.0.0.1:{self.port}{path}"

    def release(self) -> None:
        """Let the held requests go, and those that follow."""
        self._released.set()

    def count(self, path: str) -> int:
        """How many requests came for this path."""
        return sum(call.path == path for call in list(self.calls))

    def keys(self) -> Counter[str]:
        """How often each Idempotency-Key came."""
        return Counter(call.key for call in list(self.calls) if call.key)


def free_port() -> int:
    """A port of 127.0.0.1 where nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

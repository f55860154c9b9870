"""An OpenAI-compatible HTTP server that misbehaves on request: run as a process by ``model_server.py``.

It answers the first of its script's entries that is left, one a request, and keeps each request for the test to read.
``POST /script`` replaces the script, ``GET /requests`` gives what was asked, ``GET /load`` how many asked at once.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SCRIPT: list[dict[str, Any]] = []
REQUESTS: list[dict[str, Any]] = []
LOAD = {"now": 0, "most": 0}
LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/requests":
            self._send(200, json.dumps(REQUESTS).encode())
        elif self.path == "/load":
            self._send(200, json.dumps(LOAD).encode())
        else:
            self._play({"path": self.path})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"null")
        if self.path == "/script":
            SCRIPT[:] = body
            REQUESTS.clear()
            self._send(200, b"{}")
        else:
            self._play({"path": self.path, "body": body, "authorization": self.headers.get("Authorization")})

    def _play(self, request: dict[str, Any]) -> None:
        REQUESTS.append(request)
        act = SCRIPT.pop(0) if len(SCRIPT) > 1 else SCRIPT[0]
        with LOCK:
            LOAD["now"] += 1
            LOAD["most"] = max(LOAD.values())
        time.sleep(act.get("sleep", 0))
        with LOCK:
            LOAD["now"] -= 1
        body = act.get("body", "").encode()
        if act.get("bytes"):
            body = b'{"choices": [{"message": {"content": "' + b"x" * act["bytes"] + b'"}}]}'
        if act.get("drip"):
            self._drip(act["drip"])
        elif act.get("cut"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + 1000))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = True
        else:
            self._send(act.get("status", 200), body, act.get("headers", {}))

    def _drip(self, seconds: float) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        for _ in range(int(seconds / 0.05)):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.05)
        self.close_connection = True

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        """Says nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()

"""What the gate does, from a password to an audit chain that anybody can check: a person's script, with httpx.

    make up flow

A person logs in, starts a session and asks for a verdict; the session's prompt travels as a message on
``slm.requests`` and its answer comes back on ``slm.responses``, where this script reads both. In the end the tenant's
audit chain is exported, and checked offline by the command, pinned to the deployment's own keys.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import orjson
from redis import Redis

from somagent.deploy.local.layout import Layout
from somagent.deploy.local.state import running_state

ROOT = Path(__file__).parent.parent
TENANT = "demo"
REQUESTS, RESPONSES = "slm.requests", "slm.responses"
PROMPT = "In one sentence: why does a tide table give two high waters a day?"
CAPABILITIES = ["session:start", "policy:read", "audit:read"]
PATIENCE = 60.0

Json = dict[str, Any]


@dataclass
class Flow:
    """What came of it, step by step."""

    token: str = ""
    session: Json = field(default_factory=dict)
    verdict: Json = field(default_factory=dict)
    request: Json = field(default_factory=dict)
    response: Json = field(default_factory=dict)
    turn: Json = field(default_factory=dict)
    export: Path = Path()
    checked: str = ""


class Stream:
    """Messages of one Redis stream, from now on, noted as they pass: a finished request leaves its stream."""

    def __init__(self, redis_url: str, name: str) -> None:
        self._redis = Redis.from_url(redis_url)
        self._name = name
        self._stop = Event()
        self.seen: list[Json] = []
        known: Any = self._redis.xinfo_stream(name) if self._redis.exists(name) else {}
        self._last: bytes = known.get("last-generated-id", b"0-0")
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """Read no more."""
        self._stop.set()
        self._reader.join()
        self._redis.close()

    def wait_for(self, name: str, value: str) -> Json:
        """The message whose field ``name`` has this value."""
        return until(
            f"a message with {name} {value} on {self._name}",
            lambda: next((message for message in self.seen if message.get(name) == value), None),
        )

    def _read(self) -> None:
        while not self._stop.is_set():
            streams: Any = self._redis.xread({self._name: self._last}, block=200)
            for _, messages in streams:
                for number, fields in messages:
                    self._last = number
                    self.seen.append(orjson.loads(fields[b"v"]))


def run(api: httpx.Client, redis_url: str, credentials: Json, folder: Path) -> Flow:
    """The whole flow, for somebody who has a password.

    Args:
        api: a client of the API without a token.
        credentials: tenant_id, user_id and password.
        folder: where the export is written.
    """
    flow = Flow()
    requests, responses = Stream(redis_url, REQUESTS), Stream(redis_url, RESPONSES)
    try:
        _log_in(api, credentials, flow)
        _converse(api, flow)
        flow.request = requests.wait_for("session_id", flow.session["session_id"])
        flow.response = responses.wait_for("request_id", flow.request["request_id"])
        print(f"slm.requests   {flow.request['request_id']}")
        print(f"slm.responses  {flow.response['metrics']['model']}, {flow.response['metrics']['total_tokens']} tokens")
        flow.turn = until("the turn's answer", lambda: _answered_turn(api, flow))
        print(f"answer         {flow.turn['answer']!r}")
    finally:
        requests.close()
        responses.close()
    _audit(api, folder, flow)
    return flow


def until(what: str, look: Callable[[], Json | None]) -> Json:
    """Look until there is something.

    Raises:
        TimeoutError: there was nothing for a minute.
    """
    deadline = time.monotonic() + PATIENCE
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"there was not {what} within {PATIENCE:.0f} s")
        time.sleep(0.05)
    return found


def answer(response: httpx.Response) -> Json:
    """The body of a good answer.

    Raises:
        RuntimeError: the API refused; its problem document is in it.
    """
    if not response.is_success:
        raise RuntimeError(f"{response.request.method} {response.request.url.path}: {response.text}")
    body: Json = response.json()
    return body


def _log_in(api: httpx.Client, credentials: Json, flow: Flow) -> None:
    issued = answer(api.post("/v1/tokens/issue", json={**credentials, "capabilities": CAPABILITIES}))
    flow.token = issued["token"]
    api.headers["Authorization"] = f"Bearer {flow.token}"
    print(f"token          for {credentials['user_id']} of {credentials['tenant_id']}, {issued['expires_in']} s")


def _converse(api: httpx.Client, flow: Flow) -> None:
    flow.session = answer(api.post("/v1/sessions", json={"prompt": PROMPT, "metadata": {"channel": "example"}}))
    policy = flow.session["policy"]
    print(f"session        {flow.session['session_id']}, allowed with {policy['score']}")
    body = {
        "session_id": flow.session["session_id"],
        "prompt": "Summarise the minutes of the harbour board.",
        "metadata": {"action": "slm.complete", "risk": 0.2, "confidence": 0.9},
    }
    flow.verdict = answer(api.post("/v1/evaluate", json=body))
    print(f"evaluate       allowed: {flow.verdict['allowed']}, score {flow.verdict['score']}")


def _answered_turn(api: httpx.Client, flow: Flow) -> Json | None:
    turns = answer(api.get(f"/v1/sessions/{flow.session['session_id']}"))["turns"]
    first: Json = turns[0]
    return first if first["status"] in ("completed", "failed") else None


def _audit(api: httpx.Client, folder: Path, flow: Flow) -> None:
    flow.export, keys = folder / "audit.json", folder / "jwks.json"
    keys.write_bytes(api.get("/.well-known/jwks.json").raise_for_status().content)
    with api.stream("GET", "/v1/audit/export") as export, flow.export.open("wb") as file:
        export.raise_for_status()
        for chunk in export.iter_bytes():
            file.write(chunk)
    command = [sys.executable, "-m", "somagent.cli.app", "audit", "verify", str(flow.export), "--key", str(keys)]
    flow.checked = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    print(f"audit          {flow.export}\n               {flow.checked}")


def main() -> int:
    """Run it against the running stack, as a user made for it."""
    data_dir = Path(os.environ.get("SOMAGENT_DATA_DIR", ROOT / ".somagent")).absolute()
    state = running_state(Layout.of(data_dir))
    part = state.part("api")
    if part is None:
        raise RuntimeError("The stack has no API. Start it with `make up`.")
    folder = data_dir / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    user = {"user_id": f"skipper-{secrets.token_hex(4)}", "password": secrets.token_urlsafe(24)}
    with httpx.Client(base_url=part.url, trust_env=False, timeout=60) as api:
        operator = {"Authorization": f"Bearer {_operator_token(data_dir)}"}
        answer(api.post("/v1/users", json={**user, "capabilities": CAPABILITIES}, headers=operator))
        run(api, state.environment["REDIS_URL"], {**user, "tenant_id": TENANT}, folder)
    return 0


def _operator_token(data_dir: Path) -> str:
    command = [sys.executable, "-m", "somagent.cli.app", "tokens", "issue", "--data-dir", str(data_dir)]
    command += ["--tenant", TENANT, "--user", "operator"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().splitlines()[-1]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (httpx.HTTPError, subprocess.CalledProcessError, RuntimeError, TimeoutError) as failed:
        print(f"The flow stopped: {failed}", file=sys.stderr)
        sys.exit(1)

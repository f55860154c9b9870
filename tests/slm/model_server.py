"""Starts and scripts the tests' model server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx


class ModelServer:
    """A process at ``base_url``."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.root = ""

    @property
    def base_url(self) -> str:
        """What SLM_BASE_URL would be."""
        return f"{self.root}/v1"

    def start(self) -> None:
        """Starts it on a free port."""
        script = Path(__file__).with_name("model_server_process.py")
        self.process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.root = f"http://127.0.0.1:{self.process.stdout.readline().strip()}"

    def stop(self) -> None:
        """Ends it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()

    def answers(self, *script: dict[str, Any]) -> None:
        """One entry a request; the last one stays."""
        httpx.post(f"{self.root}/script", json=list(script)).raise_for_status()

    def requests(self) -> list[dict[str, Any]]:
        """What was asked since the last script."""
        found: list[dict[str, Any]] = httpx.get(f"{self.root}/requests").json()
        return found

    def most_at_once(self) -> int:
        """How many requests it answered at the same time, at most."""
        return int(httpx.get(f"{self.root}/load").json()["most"])


def chat(content: str | None, *, usage: tuple[int, int] | None = (11, 7), model: str = "tiny-1") -> dict[str, Any]:
    """A script entry: a completion as servers give it."""
    body: dict[str, Any] = {
        "id": "c1",
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
    }
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return {"body": json.dumps(body)}

"""SomaGent's own processes, in a table: what is started after the servers answer."""

from __future__ import annotations

import sys

from somagent.deploy.local.part import Part
from somagent.deploy.local.ports import HOST
from somagent.deploy.local.processes import Launch

API = "api"
ROLES = ("workflows", "activities", "slm", "relay")
DRAIN_SECONDS = 20.0


def worker_name(role: str) -> str:
    """The part's name of a worker's role."""
    return f"worker-{role}"


def _somagent(environment: dict[str, str], *arguments: str) -> Launch:
    argv = [sys.executable, "-m", "somagent.cli.app", *arguments]
    return Launch(argv=argv, somagent=arguments, environment=environment)


def api_part(port: int, environment: dict[str, str]) -> Part:
    """The API with all services on one port."""
    return Part(
        name=API,
        launch=_somagent(environment, "serve", "--port", str(port), "--host", HOST),
        url=f"http://{HOST}:{port}",
        probe=f"http://{HOST}:{port}/ready",
        stop_seconds=DRAIN_SECONDS,
    )


def worker_part(role: str, port: int, environment: dict[str, str]) -> Part:
    """A worker of one role, with its health and metrics on a port of its own."""
    return Part(
        name=worker_name(role),
        launch=_somagent(
            {**environment, "SOMAGENT_WORKER_PORT": str(port)}, "worker", "--role", role, "--port", str(port)
        ),
        url=f"http://{HOST}:{port}",
        probe=f"http://{HOST}:{port}/health",
        stop_seconds=DRAIN_SECONDS,
    )

"""The embedded Temporal server with its web UI, on a SQLite file that outlives it."""

from __future__ import annotations

import os
import signal

from somagent.deploy.local.layout import Layout
from somagent.deploy.local.part import Part
from somagent.deploy.local.parts import Found
from somagent.deploy.local.ports import HOST
from somagent.deploy.local.processes import Launch

NAME = "temporal"
UI = "temporal-ui"
PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL")
"""Two to three times the default's throughput, and safe against kill -9."""
DYNAMIC_CONFIG = (
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    "matching.enableFairness=true",
)


def address(port: int) -> str:
    """The frontend's address, as the SDK takes it."""
    return f"{HOST}:{port}"


def ui_url(port: int) -> str:
    """The web UI's address."""
    return f"http://{HOST}:{port}"


def start_dev_command(program: str, database: str, namespace: str, port: int, ui_port: int) -> list[str]:
    """The server's command line; benchmarks start their bare server with the same settings."""
    return [
        *(program, "server", "start-dev", "--ip", HOST, "--port", str(port), "--ui-port", str(ui_port)),
        *("--db-filename", database, "--namespace", namespace, "--log-level", "warn"),
        *(argument for pragma in PRAGMAS for argument in ("--sqlite-pragma", pragma)),
        *(argument for setting in DYNAMIC_CONFIG for argument in ("--dynamic-config-value", setting)),
    ]


def part(layout: Layout, found: Found, namespace: str, port: int, ui_port: int) -> Part:
    """Temporal on this stack's database file."""
    database = str(layout.temporal / "temporal.db")
    passed = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return Part(
        name=NAME,
        launch=Launch(
            argv=start_dev_command(str(found.path), database, namespace, port, ui_port),
            environment={**passed, "TEMPORAL_VERSION_CHECK_DISABLED": "1"},
            death_signal=signal.SIGTERM,
        ),
        url=address(port),
        probe=f"{ui_url(ui_port)}/api/v1/cluster-info",  # the UI asks the frontend by gRPC: an answer proves both
        stop_seconds=15.0,
    )

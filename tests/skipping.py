"""Starting Temporal's time-skipping server, which the SDK gives five seconds: too few for Java on a laden machine."""

from __future__ import annotations

from pathlib import Path

from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment

_TRIES = 6


async def start_skipping(server: Path) -> WorkflowEnvironment:
    """The server of this program; ``async with`` ends it."""
    for _ in range(_TRIES - 1):
        try:
            return await _start(server)
        except RuntimeError:  # "Failed connecting to test server": it was still starting
            continue
    return await _start(server)


async def _start(server: Path) -> WorkflowEnvironment:
    return await WorkflowEnvironment.start_time_skipping(
        data_converter=pydantic_data_converter, test_server_existing_path=str(server)
    )

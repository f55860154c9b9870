"""Programs that end before anybody has written to them, on the event loop that workers run on."""

from __future__ import annotations

import asyncio

import uvloop

from somagent.adapters.tools.process import Finished, Launch, finish


def test_programs_that_read_nothing_all_end_well() -> None:
    launch = Launch(argv=["/bin/true"], stdin=b"x" * 100_000, timeout_seconds=60, max_output_bytes=1000)

    async def dozens() -> list[Finished]:
        ended: list[Finished] = []
        for _ in range(8):
            ended += await asyncio.gather(*(finish(launch, lambda: None) for _ in range(12)))
        return ended

    assert {one.exit_code for one in uvloop.run(dozens())} == {0}

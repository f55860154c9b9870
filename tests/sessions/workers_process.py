"""Every role of the workers in one process, which starts faster than four: ``workers_process.py [ROLE]...``."""

from __future__ import annotations

import asyncio
import sys

from somagent.adapters.logs import configure_logging
from somagent.adapters.settings import load_settings
from somagent.workers.main import ROLES
from somagent.workers.parts import open_parts


async def main(*names: str) -> None:
    settings = load_settings()
    configure_logging(settings.log_level)
    async with open_parts(settings) as parts, asyncio.TaskGroup() as group:
        for name in names or ROLES:
            group.create_task(ROLES[name](parts).run())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""The commands of docs/Identity.md, in order and in one shell; what they show has to come out."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from somagent.adapters.postgres.database import Database
from somagent.adapters.settings import load_settings
from somagent.deploy.local.administrator import keep_password
from somagent.deploy.local.layout import Layout
from somagent.services.identity.administrators import ensure_first
from somagent.tests.api.servers import ApiServer
from somagent.tests.journeys.documents import DOCS, ROOT, blocks, missing_line

MARK = "=== the block at line "


def test_every_command_of_the_guide(api: ApiServer, tmp_path: Path) -> None:
    asyncio.run(prepare(api, Layout.of(tmp_path)))
    pages = blocks(DOCS / "Identity.md")
    commands = [block for block in pages if block.language == "bash"]
    script = "".join(f"echo '{MARK}{block.line}'\n{block.text}" for block in commands)
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=ROOT, env={
            **os.environ, "SOMAGENT_DATA_DIR": str(tmp_path), "SOMAGENT_PORT": str(api.port),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "no_proxy": "127.0.0.1",
        },
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    parts = (part.partition("\n") for part in done.stdout.split(MARK)[1:])
    outputs = {int(line): output for line, _, output in parts}
    for block, following in pairwise(pages):
        if block.language == "bash" and following.language == "text":
            lost = missing_line(following.text, outputs[block.line])
            assert lost is None, f"Identity.md:{following.line} shows {lost!r}; there came\n{outputs[block.line]}"


async def prepare(api: ApiServer, layout: Layout) -> None:
    """The first administrator, as the preparation of a stack makes it."""
    database = await Database.open(api.postgres.system_url, pool_size=1)
    try:
        made = await ensure_first(
            database, load_settings().capsules_dir, lambda password: keep_password(layout, password)
        )
        assert made
    finally:
        await database.close()

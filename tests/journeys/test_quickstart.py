"""Runs the quickstart as a newcomer would: its commands, in order, in one shell. What it shows has to come out."""

from __future__ import annotations

import os
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from somagent.tests.harness import Stack, clean_environment
from somagent.tests.journeys.documents import DOCS, ROOT, Block, blocks, missing_line

QUICKSTART = DOCS / "Quickstart.md"
MARK = "=== the block at line "


@pytest.mark.timeout(280)
def test_every_command_of_the_quickstart(stack: Stack, tmp_path: Path) -> None:
    pages = blocks(QUICKSTART)
    commands = [block for block in pages if block.language == "bash"]
    assert len(commands) >= 10
    outputs = run(commands, stack, tmp_path)
    for block, following in pairwise(pages):
        if block.language == "bash" and following.language == "text":
            lost = missing_line(following.text, outputs[block.line])
            assert lost is None, f"Quickstart.md:{following.line} shows {lost!r}; there came\n{outputs[block.line]}"


def run(commands: list[Block], stack: Stack, tmp_path: Path) -> dict[int, str]:
    """What each block printed, by its line; the first command that fails ends the run."""
    script = "".join(f"echo '{MARK}{block.line}'\n{block.text}" for block in commands)
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=ROOT,
        env={
            **clean_environment(),
            "SOMAGENT_DATA_DIR": str(stack.data_dir),
            "SOMAGENT_PORT": str(stack.local.port),
            "TMPDIR": str(tmp_path),
            "PATH": os.environ["PATH"],
        },
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=270, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    parts = (part.partition("\n") for part in done.stdout.split(MARK)[1:])
    return {int(line): output for line, _, output in parts}

"""What tests of tools share: a job's own folder, one shared folder, attachments."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from somagent.adapters.settings import Settings
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.registry import ToolRegistry
from somagent.tests.tools.bench import Bench


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that every user of the machine can reach, as a data folder is; pytest's own is private to us."""
    with tempfile.TemporaryDirectory(prefix="somagent-test-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder).resolve()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspaces" / "tenant" / "job"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "a.md").write_text("shared text\n")
    (folder / "deep").mkdir()
    (folder / "deep" / "b.md").write_text("deeper\n")
    return folder


@pytest.fixture
def context(tmp_path: Path, workspace: Path, shared: Path) -> ToolContext:
    attachments = tmp_path / "attached"
    attachments.mkdir()
    (attachments / "given.txt").write_text("given\n")
    return ToolContext(
        tenant_id="tenant",
        job_id="job",
        step_id="step",
        effect_key="job:step",
        workspace=workspace,
        shares={"notes": shared},
        attachments=attachments,
        timeout_seconds=20.0,
    )


@pytest.fixture
def make_bench(context: ToolContext) -> Callable[[Settings], Bench]:
    return lambda settings: Bench(ToolRegistry(settings), context)


@pytest.fixture
async def bench(context: ToolContext) -> AsyncIterator[Bench]:
    registry = ToolRegistry(Settings())
    yield Bench(registry, context)
    await registry.close()

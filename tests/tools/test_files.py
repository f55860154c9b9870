"""files.*: what it writes, reads and lists, and the places it refuses."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somagent.adapters.tools.files import MAX_FILE_BYTES, write
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.workspace import locate
from somagent.domain.actions.local import FilesWriteParams
from somagent.domain.errors import Code, SomaError
from somagent.tests.tools.bench import Bench, names


async def test_writes_reads_and_lists(bench: Bench) -> None:
    text = "Grüße\n"
    written = await bench.get("files.write", path="./out//page.md", content=text)
    assert written == {"path": "out/page.md", "bytes": 8, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    assert await bench.get("files.read", path="out/page.md") == {"content": text, "bytes": 8}
    assert await bench.get("files.list") == {"entries": [{"path": "out/page.md", "bytes": 8}]}
    assert await bench.get("files.list", path="out/page.md") == {"entries": [{"path": "out/page.md", "bytes": 8}]}


async def test_listed_paths_can_be_read_as_they_are(bench: Bench) -> None:
    listing = await bench.get("files.list", path="shared/notes")
    paths = [entry["path"] for entry in listing["entries"]]
    assert paths == ["shared/notes/a.md", "shared/notes/deep/b.md"]
    assert await bench.get("files.read", path=paths[1]) == {"content": "deeper\n", "bytes": 7}
    assert await bench.get("files.read", path="attachments/given.txt") == {"content": "given\n", "bytes": 6}


async def test_writing_the_same_again_changes_nothing(bench: Bench, workspace: Path) -> None:
    first = await bench.get("files.write", path="a.txt", content="same")
    before = (workspace / "a.txt").stat()
    assert await bench.get("files.write", path="a.txt", content="same") == first
    after = (workspace / "a.txt").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_replaces_whole_and_leaves_no_temporary_file(bench: Bench, workspace: Path) -> None:
    await bench.run("files.write", path="a.txt", content="long " * 100_000)
    await bench.run("files.write", path="a.txt", content="short")
    assert (workspace / "a.txt").read_text() == "short"
    assert names(workspace) == ["a.txt"]


@pytest.mark.parametrize(
    "path",
    ["..", "../x", "a/../../x", "a/../x", "/etc/passwd", "/", "shared", "shared/", "shared/none/x", "shared/../x"],
)
async def test_paths_outside_are_refused(bench: Bench, path: str) -> None:
    for name in ("files.read", "files.list"):
        await bench.refused(name, Code.PATH_OUTSIDE_WORKSPACE, path=path)
    await bench.refused("files.write", Code.PATH_OUTSIDE_WORKSPACE, path=path, content="x")


@pytest.mark.parametrize("path", ["shared/notes/new.md", "shared/notes/a.md", "attachments/x", "./shared//notes/a.md"])
async def test_shared_folders_and_attachments_are_read_only(bench: Bench, shared: Path, path: str) -> None:
    await bench.refused("files.write", Code.PATH_OUTSIDE_WORKSPACE, path=path, content="x")
    assert (shared / "a.md").read_text() == "shared text\n"


async def test_links_are_never_followed(bench: Bench, workspace: Path, shared: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("hidden")
    (workspace / "file").symlink_to(secret / "key")
    (workspace / "folder").symlink_to(secret)
    (workspace / "relative").symlink_to("../../../secret")
    (shared / "link").symlink_to(secret)
    for path in ("file", "folder/key", "relative/key", "shared/notes/link/key"):
        await bench.refused("files.read", Code.PATH_OUTSIDE_WORKSPACE, path=path)
    for path in ("file", "folder/new", "relative/new"):
        await bench.refused("files.write", Code.PATH_OUTSIDE_WORKSPACE, path=path, content="x")
    for path in ("folder", "relative", "shared/notes/link"):
        await bench.refused("files.list", Code.PATH_OUTSIDE_WORKSPACE, path=path)
    assert await bench.get("files.list") == {"entries": []}
    assert (secret / "key").read_text() == "hidden"
    assert names(secret) == ["key"]


@pytest.mark.parametrize(
    ("path", "code"),
    [("a\0b", Code.PARAMS_INVALID), ("x" * 256, Code.PARAMS_INVALID),
     (".", Code.PARAMS_INVALID), ("folder", Code.PARAMS_INVALID)],
)  # fmt: skip
async def test_impossible_names_are_refused_clearly(bench: Bench, workspace: Path, path: str, code: Code) -> None:
    (workspace / "folder").mkdir()
    await bench.refused("files.write", code, path=path, content="x")


async def test_what_is_no_text_or_no_file(bench: Bench, workspace: Path) -> None:
    (workspace / "binary").write_bytes(b"\xff\xfe")
    (workspace / "nulls").write_bytes(b"a\0b")
    (workspace / "folder").mkdir()
    os.mkfifo(workspace / "pipe")
    with (workspace / "large").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    await bench.refused("files.read", Code.FILE_NOT_TEXT, path="binary")
    await bench.refused("files.read", Code.FILE_NOT_TEXT, path="nulls")
    await bench.refused("files.read", Code.FILE_TOO_LARGE, path="large")
    for path in ("none", "folder", "pipe", "none/x", "binary/x", "."):
        await bench.refused("files.read", Code.FILE_NOT_FOUND, path=path)
    await bench.refused("files.list", Code.FILE_NOT_FOUND, path="none")
    await bench.refused("files.write", Code.FILE_NOT_FOUND, path="binary/x", content="x")
    await bench.refused("files.write", Code.FILE_TOO_LARGE, path="x", content="é" * (MAX_FILE_BYTES // 2 + 1))


async def test_lists_leave_out_what_git_keeps_for_itself(bench: Bench, workspace: Path) -> None:
    (workspace / "repo" / ".git" / "objects").mkdir(parents=True)
    (workspace / "repo" / ".git" / "HEAD").write_text("ref")
    (workspace / "repo" / ".gitignore").write_text("")
    listing = await bench.get("files.list", path="repo")
    assert listing == {"entries": [{"path": "repo/.gitignore", "bytes": 0}]}


async def test_a_listing_has_a_bound(bench: Bench, workspace: Path) -> None:
    for number in range(10_001):
        (workspace / str(number)).touch()
    await bench.refused("files.list", Code.OUTPUT_TOO_LARGE)


async def test_a_job_without_attachments_says_so(bench: Bench) -> None:
    alone = Bench(bench.registry, replace(bench.context, attachments=None))
    await alone.refused("files.list", Code.FILE_NOT_FOUND, path="attachments")


_NAMES = st.sampled_from(["..", ".", "", "a", "link", "shared", "notes", "attachments", "x" * 300, "é", "\0", " ", "~"])


@given(parts=st.lists(_NAMES | st.text(max_size=8), min_size=1, max_size=6), absolute=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
def test_no_path_leads_outside(context: ToolContext, parts: list[str], absolute: bool) -> None:
    path = ("/" if absolute else "") + "/".join(parts)
    try:
        place = locate(context, path)
    except SomaError as error:
        if error.code not in {Code.PATH_OUTSIDE_WORKSPACE, Code.PARAMS_INVALID}:
            raise
        return
    allowed = [context.workspace, *context.shares.values(), context.attachments]
    assert place.root in allowed
    assert place.root.joinpath(*place.parts).resolve().is_relative_to(place.root)
    assert place.writable == (place.root == context.workspace)
    if place.display != ".":
        assert locate(context, place.display) == place


@given(parts=st.lists(_NAMES, min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
def test_no_write_lands_outside(tmp_path: Path, context: ToolContext, parts: list[str]) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(exist_ok=True)
    if not (context.workspace / "link").is_symlink():
        (context.workspace / "link").symlink_to(outside)
    try:
        write(context, FilesWriteParams.model_construct(path="/".join(parts), content="x"))
    except SomaError as error:
        if error.code not in {Code.PATH_OUTSIDE_WORKSPACE, Code.PARAMS_INVALID, Code.FILE_NOT_FOUND}:
            raise
    assert list(outside.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attached", "elsewhere", "outside", "workspaces"]

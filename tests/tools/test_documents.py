"""files.read_all on real folders."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from somagent.adapters.tools.files import FilesTool
from somagent.adapters.tools.port import ToolContext
from somagent.domain.actions.local import FilesReadAllOutput, FilesReadAllParams
from somagent.domain.errors import Code, SomaError


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    folder = tmp_path / "shared"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.md").write_text("# B\n\nSecond.\n")
    (folder / "a.txt").write_text("First.")
    (folder / "deep" / "c.md").write_text("Third.")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\x00")
    return folder


async def _read_all(shared: Path, tmp_path: Path, **params: object) -> FilesReadAllOutput:
    workspace = tmp_path / "workspace"
    workspace.mkdir(exist_ok=True)
    context = ToolContext("t", "j", "s", "j:s", workspace, {"docs": shared})
    given = FilesReadAllParams.model_validate({"path": "shared/docs", **params})
    output = await FilesTool().execute("read_all", given, context)
    assert isinstance(output, FilesReadAllOutput)
    return output


async def test_every_text_below_the_folder_in_the_order_of_paths(shared: Path, tmp_path: Path) -> None:
    output = await _read_all(shared, tmp_path)
    names = ["a.txt", "b.md", "deep/c.md"]
    assert [document.path for document in output.documents] == [f"shared/docs/{name}" for name in names]
    assert output.count == 3
    assert output.documents[0].sha256 == hashlib.sha256(b"First.").hexdigest()
    assert output.text.startswith("# shared/docs/a.txt\n\nFirst.\n\n# shared/docs/b.md\n\n# B")
    assert [file.path for file in output.left_out] == ["shared/docs/photo.jpg"]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [("*.md", ["b.md", "deep/c.md"]), ("*.txt, c.*", ["a.txt", "deep/c.md"]), ("shared/docs/deep/*", ["deep/c.md"])],
)
async def test_patterns(shared: Path, tmp_path: Path, pattern: str, names: list[str]) -> None:
    output = await _read_all(shared, tmp_path, pattern=pattern)
    assert [document.path.removeprefix("shared/docs/") for document in output.documents] == names


async def test_what_no_longer_fits_is_named(shared: Path, tmp_path: Path) -> None:
    output = await _read_all(shared, tmp_path, pattern="*.txt,*.md", max_bytes=13)
    assert [document.path for document in output.documents] == ["shared/docs/a.txt", "shared/docs/deep/c.md"]
    assert [file.path for file in output.left_out] == ["shared/docs/b.md"]
    assert "max_bytes" in output.left_out[0].reason


async def test_an_empty_folder_has_no_documents(shared: Path, tmp_path: Path) -> None:
    output = await _read_all(shared, tmp_path, path=".")
    assert (output.documents, output.text, output.count) == ([], "", 0)


async def test_outside_stays_outside(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(SomaError) as refused:
        await _read_all(shared, tmp_path, path="../shared")
    assert refused.value.code is Code.PATH_OUTSIDE_WORKSPACE

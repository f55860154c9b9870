"""Parameters and outputs of actions in the job's own folder: files, text, git, shell."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, JsonValue, model_validator

from somagent.domain.model import Model

Path = Annotated[str, Field(min_length=1, max_length=4096)]


class FilesWriteParams(Model):
    path: Path
    content: str


class FilesWriteOutput(Model):
    path: str
    bytes: int
    sha256: str


class FilesReadParams(Model):
    path: Path


class FilesReadOutput(Model):
    content: str
    bytes: int


class FilesListParams(Model):
    path: Path = "."


class FileEntry(Model):
    path: str
    bytes: int


class FilesListOutput(Model):
    entries: list[FileEntry]


class FilesReadAllParams(Model):
    """Every text file at or below ``path`` whose path or name matches ``pattern`` (``*.md``), up to ``max_bytes``.

    Files are taken in the order of their paths. One that is no text, or no longer fits, is left out and named.
    """

    path: Path = "."
    pattern: Annotated[str, Field(min_length=1, max_length=400)] = "*"
    max_bytes: Annotated[int, Field(ge=1, le=5 * 1024 * 1024)] = 1024 * 1024


class Document(Model):
    """A text and where it comes from; sizes in bytes of UTF-8."""

    path: Path
    content: str
    bytes: int = 0
    sha256: str = ""


class LeftOutFile(Model):
    path: str
    reason: str


class FilesReadAllOutput(Model):
    """``text`` is every document under a heading with its path, for a model to read."""

    documents: list[Document]
    text: str
    count: int
    left_out: list[LeftOutFile]


class TextTemplateParams(Model):
    """``template`` is Jinja in an immutable sandbox; ``values`` are the names it can use."""

    template: str
    values: dict[str, JsonValue] = Field(default_factory=dict)


class TextOutput(Model):
    text: str


class TextSplitParams(Model):
    """Exactly one of ``by`` (a separator) or ``size`` (characters a part)."""

    text: str
    by: Annotated[str, Field(min_length=1)] | None = None
    size: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.by is None) == (self.size is None):
            raise ValueError("give exactly one of `by` and `size`")
        return self


class TextSplitOutput(Model):
    parts: list[str]


class TextJoinParams(Model):
    parts: list[JsonValue]
    with_: str = Field(default="\n", alias="with")


class ShellExecuteParams(Model):
    """``command`` is an argument vector, never a shell line."""

    command: Annotated[list[str], Field(min_length=1, max_length=256)]
    stdin: str | None = None


class ShellExecuteOutput(Model):
    exit_code: int
    stdout: str
    stderr: str


class GitLogParams(Model):
    """``path`` is the repository's folder; ``limit`` counts commits, newest first."""

    path: Path = "."
    limit: Annotated[int, Field(ge=1, le=1000)] = 50
    since: str | None = None


class GitCommitEntry(Model):
    hash: str
    author: str
    date: str
    subject: str
    body: str


class GitLogOutput(Model):
    commits: list[GitCommitEntry]
    text: str


class GitDiffParams(Model):
    """The difference from ``base`` to ``head``; without ``head`` the working tree."""

    path: Path = "."
    base: str = "HEAD"
    head: str | None = None


class GitDiffOutput(Model):
    diff: str
    files: list[str]


class GitCommitParams(Model):
    path: Path = "."
    message: Annotated[str, Field(min_length=1)]
    author: str | None = None


class GitCommitOutput(Model):
    hash: str
    files: list[str]


class GitInitParams(Model):
    path: Path = "."


class GitInitOutput(Model):
    path: str


class GitCloneParams(Model):
    url: Annotated[str, Field(min_length=1, max_length=4096)]
    path: Path = "repository"
    depth: Annotated[int, Field(ge=1)] | None = None


class GitCloneOutput(Model):
    path: str
    head: str

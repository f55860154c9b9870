"""git.log and git.diff: reading a repository."""

from __future__ import annotations

from somagent.adapters.tools.git_command import Git, failed
from somagent.adapters.tools.jsonvalue import printable
from somagent.domain.actions.local import (
    GitCommitEntry,
    GitDiffOutput,
    GitDiffParams,
    GitLogOutput,
    GitLogParams,
)
from somagent.domain.errors import Code, SomaError

_FIELDS = ("%H", "%an <%ae>", "%aI", "%s", "%b")
_EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"  # git's own name for a tree without entries (SHA-1)


async def log(git: Git, params: GitLogParams) -> GitLogOutput:
    """The newest commits of the branch that is checked out, and the same as text; none in a new repository."""
    arguments = ["log", "-z", f"--max-count={params.limit}", f"--format={'%x00'.join(_FIELDS)}"]
    if params.since is not None:
        if "\0" in params.since:
            raise SomaError(Code.PARAMS_INVALID, "`since` holds a null character.")
        arguments.append(f"--since={params.since}")
    finished = await git.run(*arguments, "HEAD", "--")
    if finished.exit_code != 0:
        if await git.commit_of("HEAD") is None:
            return GitLogOutput(commits=[], text="")
        raise failed(finished)
    commits = _commits(finished.stdout)
    return GitLogOutput(commits=commits, text="\n".join(_as_text(commit) for commit in commits))


async def diff(git: Git, params: GitDiffParams) -> GitDiffOutput:
    """The difference as a unified patch, and the files in it.

    Without ``head`` it leads to the working tree; files that git does not know yet are not part of it, as always in
    git. In a repository without commits, HEAD stands for the empty tree.

    Raises:
        SomaError: GIT_FAILED for a revision that is not there.
    """
    revisions = [await _tree_of(git, params.base)]
    if params.head is not None:
        revisions.append(await _tree_of(git, params.head))
    options = ("--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=all")
    patch = await git.get("diff", *options, *revisions, "--")
    names = await git.get("diff", *options, "--name-only", "-z", *revisions, "--")
    return GitDiffOutput(diff=printable(patch), files=names_in(names))


def names_in(listing: bytes) -> list[str]:
    """The paths of a listing that git ended with null characters, sorted."""
    return sorted(printable(name) for name in listing.split(b"\0") if name)


async def _tree_of(git: Git, revision: str) -> str:
    commit = await git.commit_of(revision)
    if commit is None and revision == "HEAD":
        return _EMPTY_TREE
    if commit is None:
        raise SomaError(
            Code.GIT_FAILED, f"The repository {git.folder!r} has no revision {revision!r}.", retryable=False
        )
    return commit


def _commits(listing: bytes) -> list[GitCommitEntry]:
    fields = [printable(field) for field in listing.split(b"\0")]
    width = len(_FIELDS)
    return [
        GitCommitEntry(hash=commit, author=author, date=date, subject=subject, body=body.strip())
        for commit, author, date, subject, body in (
            fields[start : start + width] for start in range(0, len(fields) - width + 1, width)
        )
    ]


def _as_text(commit: GitCommitEntry) -> str:
    head = f"{commit.hash[:10]} {commit.date} {commit.author}: {commit.subject}"
    body = "".join(f"\n    {line}" for line in commit.body.splitlines())
    return head + body

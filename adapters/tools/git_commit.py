"""git.commit: every change of the working tree as one commit, once."""

from __future__ import annotations

import contextlib
import os
import re
import time

from somagent.adapters.tools.git_command import Git
from somagent.adapters.tools.git_history import names_in
from somagent.adapters.tools.workspace import ATTACHMENTS, SHARED, Place, opened_folder
from somagent.domain.actions.local import GitCommitOutput, GitCommitParams
from somagent.domain.errors import Code, SomaError

TRAILER = "SomaGent-Effect"

_STALE_SECONDS = 10.0  # what ends a worker ends its sandboxes too, so that an older lock has no holder
_LOOK_BACK = 200  # commits in which an earlier attempt's commit is looked for
_AUTHOR = re.compile(r"[^<>\0\n]*[^<>\0\n\s][^<>\0\n]* <[^<>\0\n\s]+>")
_LEFT_OUT = (":(exclude,glob)**/.somagent-*.tmp",)
_MOUNTS = (f":(exclude){SHARED}", f":(exclude){ATTACHMENTS}")


async def commit(git: Git, params: GitCommitParams, effect_key: str) -> GitCommitOutput:
    """Commit all changes under the effect's key; the key's commit, where an earlier attempt made it, is the answer.

    With nothing to commit, the answer is HEAD without files.

    Raises:
        SomaError: GIT_FAILED, PARAMS_INVALID.
    """
    _check(params)
    earlier = await _commit_of_effect(git, effect_key)
    if earlier is not None:
        return GitCommitOutput(hash=earlier, files=await _files(git, earlier))
    _forget_locks(git.place)
    await git.get("add", "--all", "--", ".", *_LEFT_OUT, *(_MOUNTS if git.folder == "." else ()))
    if (await git.run("diff", "--cached", "--quiet", "--no-ext-diff", "--ignore-submodules=none")).exit_code == 0:
        return await _unchanged(git)
    message = f"{params.message.rstrip()}\n\n{TRAILER}: {effect_key}\n"
    options = ["--quiet", "--no-verify", "--cleanup=whitespace", "--file=-"]
    if params.author is not None:
        options.append(f"--author={params.author}")
    await git.get("commit", *options, stdin=message.encode())
    head = await git.commit_of("HEAD")
    if head is None:
        raise SomaError(Code.GIT_FAILED, "The commit was made and HEAD does not name it.", retryable=False)
    return GitCommitOutput(hash=head, files=await _files(git, head))


def _forget_locks(place: Place) -> None:
    """Remove locks that an attempt left behind when its worker was killed; git itself never would."""
    for parts in ((".git",), (".git", "refs", "heads")):
        with (
            contextlib.suppress(SomaError, FileNotFoundError),
            opened_folder(place.root, (*place.parts, *parts), place.display) as folder,
        ):
            for name in os.listdir(folder):  # noqa: PTH208
                if name.endswith(".lock") and time.time() - os.lstat(name, dir_fd=folder).st_mtime > _STALE_SECONDS:
                    os.unlink(name, dir_fd=folder)


def _check(params: GitCommitParams) -> None:
    if "\0" in params.message or not params.message.strip():
        raise SomaError(Code.PARAMS_INVALID, "The commit's message is empty or holds a null character.")
    if params.author is not None and not _AUTHOR.fullmatch(params.author):
        raise SomaError(Code.PARAMS_INVALID, f"The author {params.author!r} is not of the form 'Name <address>'.")


async def _commit_of_effect(git: Git, effect_key: str) -> str | None:
    if await git.commit_of("HEAD") is None:
        return None
    listing = await git.get(
        "log", "-z", f"--max-count={_LOOK_BACK}", f"--format=%H%x00%(trailers:key={TRAILER},valueonly)", "HEAD", "--"
    )
    fields = [field.decode(errors="replace") for field in listing.split(b"\0")]
    for commit_hash, values in zip(fields[::2], fields[1::2], strict=False):
        if effect_key in values.split("\n"):
            return commit_hash
    return None


async def _files(git: Git, commit_hash: str) -> list[str]:
    listing = await git.get("diff-tree", "--root", "--no-commit-id", "--name-only", "-r", "-z", commit_hash)
    return names_in(listing)


async def _unchanged(git: Git) -> GitCommitOutput:
    head = await git.commit_of("HEAD")
    if head is None:
        raise SomaError(
            Code.GIT_FAILED, f"There is nothing to commit in {git.folder!r}, and no commit yet.", retryable=False
        )
    return GitCommitOutput(hash=head, files=[])

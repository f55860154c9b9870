"""Runs the real git in the sandbox, kept from everything that configuration or content could make it start."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from somagent.adapters.tools.grant import Grant
from somagent.adapters.tools.jsonvalue import printable
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.process import Finished
from somagent.adapters.tools.sandbox import Sandbox
from somagent.adapters.tools.workspace import Place, real_path
from somagent.domain.errors import Code, SomaError

MAX_OUTPUT_BYTES = 5 * 1024 * 1024
AGENT_NAME = "SomaGent"
AGENT_EMAIL = "agent@somagent.invalid"

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.pager=cat",
    "core.quotePath=false",
    "core.sshCommand=false",
    "credential.helper=",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "log.showSignature=false",
    "diff.external=",
    "diff.mnemonicPrefix=false",
    "diff.noprefix=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "i18n.commitEncoding=UTF-8",
    "i18n.logOutputEncoding=UTF-8",
    "advice.detachedHead=false",
    "submodule.recurse=false",
)
_REVISION = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_@{}^~/.+#=-]{0,254}")


@dataclass(frozen=True, slots=True)
class Git:
    """git in one folder of one job.

    Attributes:
        place: the repository's folder.
        ceilings: the folders above it, where git must not look for a repository; colon-separated.
        protocols: what git may use to reach another repository, colon-separated.
    """

    sandbox: Sandbox
    context: ToolContext
    place: Place
    ceilings: str
    protocols: str = "none"
    network: bool = False

    @property
    def folder(self) -> str:
        """The folder as a capsule writes it (``repo``, ``shared/notes``)."""
        return self.place.display

    async def run(self, *arguments: str, stdin: bytes = b"", settings: Sequence[str] = ()) -> Finished:
        """Run git; any exit code is an answer.

        Raises:
            SomaError: as :meth:`Sandbox.run`.
        """
        command = ["git", *(word for setting in (*_SETTINGS, *settings) for word in ("-c", setting)), *arguments]
        return await self.sandbox.run(
            self.context,
            command,
            Grant(
                stdin=stdin,
                max_output_bytes=MAX_OUTPUT_BYTES,
                env={
                    "GIT_ALLOW_PROTOCOL": self.protocols,
                    "GIT_CEILING_DIRECTORIES": self.ceilings,
                    "GIT_CONFIG_GLOBAL": "/dev/null",
                    "GIT_OPTIONAL_LOCKS": "0",
                    "GIT_TERMINAL_PROMPT": "0",
                    "GIT_COMMITTER_NAME": AGENT_NAME,
                    "GIT_COMMITTER_EMAIL": AGENT_EMAIL,
                    "GIT_AUTHOR_NAME": AGENT_NAME,
                    "GIT_AUTHOR_EMAIL": AGENT_EMAIL,
                },
                folder=self.folder,
                network=self.network,
                trusted=True,
            ),
        )

    async def get(self, *arguments: str, stdin: bytes = b"", settings: Sequence[str] = ()) -> bytes:
        """What git prints.

        Raises:
            SomaError: GIT_FAILED with git's own words where it ends with a failure.
        """
        finished = await self.run(*arguments, stdin=stdin, settings=settings)
        if finished.exit_code != 0:
            raise failed(finished)
        return finished.stdout

    async def commit_of(self, revision: str) -> str | None:
        """The hash of the commit that ``revision`` names, None where there is none.

        Raises:
            SomaError: PARAMS_INVALID for what is no revision; GIT_FAILED outside a repository.
        """
        if not _REVISION.fullmatch(revision) or ".." in revision:
            raise SomaError(Code.PARAMS_INVALID, f"{revision!r} is no revision of a git repository.")
        finished = await self.run("rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}")
        if finished.exit_code == 0:
            return finished.stdout.decode().strip()
        if finished.exit_code == 1:  # quietly: no such revision
            return None
        raise failed(finished)

    def reaching(self, protocols: str, *, network: bool) -> Git:
        """The same, allowed to reach other repositories by ``protocols``."""
        return replace(self, protocols=protocols, network=network)


def git_in(sandbox: Sandbox, context: ToolContext, place: Place, *, create: bool = False) -> Git:
    """git in the folder of ``place``.

    Raises:
        SomaError: FILE_NOT_FOUND, PATH_OUTSIDE_WORKSPACE.
    """
    path = real_path(place, create=create)
    ceilings = [f"/workspace/{place.display}".removesuffix("/."), str(path), str(path.resolve())]
    parents = dict.fromkeys(ceiling.rpartition("/")[0] or "/" for ceiling in ceilings)
    return Git(sandbox, context, place, ":".join(parents))


def failed(finished: Finished, *, retryable: bool = False) -> SomaError:
    """The error of a git command that ended with a failure."""
    words = printable(finished.stderr).strip() or f"exit code {finished.exit_code}"
    locked = ".lock': File exists" in words  # another step of the job, or an attempt that was cut off
    return SomaError(Code.GIT_FAILED, f"git failed: {words[:2000]}", retryable=retryable or locked)

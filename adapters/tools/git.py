"""git.*: the real git, in the sandbox, on repositories in the job's places."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel

from somagent.adapters.egress import EgressRules
from somagent.adapters.tools.git_clone import clone
from somagent.adapters.tools.git_command import git_in
from somagent.adapters.tools.git_commit import commit
from somagent.adapters.tools.git_history import diff, log
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.sandbox import Sandbox
from somagent.adapters.tools.workspace import locate, locate_for_writing
from somagent.domain.actions.local import (
    GitCloneParams,
    GitCommitParams,
    GitDiffParams,
    GitInitOutput,
    GitInitParams,
    GitLogParams,
)
from somagent.domain.errors import Code, SomaError


class GitTool:
    """Reads repositories anywhere in the job's places; makes and changes them in the job's own folder only.

    Hooks, filters and helpers that a repository's configuration names have no way out of the sandbox. ``path`` is the
    repository's own folder; one above it is never taken in its place.
    """

    def __init__(self, sandbox: Sandbox, rules: EgressRules) -> None:
        self._sandbox = sandbox
        self._rules = rules

    async def execute(self, verb: str, params: BaseModel, context: ToolContext) -> BaseModel:
        """Run ``git.<verb>``.

        Raises:
            SomaError: GIT_FAILED; PARAMS_INVALID; PATH_OUTSIDE_WORKSPACE; FILE_NOT_FOUND; EGRESS_REFUSED (clone);
                STEP_TIMED_OUT after ``context.timeout_seconds``; else as :meth:`Sandbox.run`.
        """
        try:
            async with asyncio.timeout(context.timeout_seconds):
                return await self._run(verb, params, context)
        except TimeoutError:
            raise SomaError(
                Code.STEP_TIMED_OUT, f"git was stopped: it ran longer than {context.timeout_seconds:g} seconds."
            ) from None

    async def _run(self, verb: str, params: BaseModel, context: ToolContext) -> BaseModel:
        match params:
            case GitLogParams():
                return await log(git_in(self._sandbox, context, locate(context, params.path)), params)
            case GitDiffParams():
                return await diff(git_in(self._sandbox, context, locate(context, params.path)), params)
            case GitCommitParams():
                git = git_in(self._sandbox, context, locate_for_writing(context, params.path))
                return await commit(git, params, context.effect_key)
            case GitInitParams():
                return await self._init(params, context)
            case GitCloneParams():
                return await clone(self._sandbox, self._rules, params, context)
            case _:
                raise SomaError(Code.PARAMS_INVALID, f"git has no action {verb!r}.")

    async def _init(self, params: GitInitParams, context: ToolContext) -> GitInitOutput:
        place = locate_for_writing(context, params.path)
        git = git_in(self._sandbox, context, place, create=True)
        await git.get("init", "--quiet", "--initial-branch=main", "--template=")
        return GitInitOutput(path=place.display)

"""shell.execute: one program in the sandbox. Never a shell line: arguments are given as they are."""

from __future__ import annotations

from pydantic import BaseModel

from somagent.adapters.tools.grant import Grant
from somagent.adapters.tools.jsonvalue import printable
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.sandbox import Sandbox
from somagent.domain.actions.local import ShellExecuteOutput, ShellExecuteParams
from somagent.domain.errors import Code, SomaError

MAX_ARGUMENT_BYTES = 128 * 1024 - 1  # the kernel's limit for one argument, less its end


class ShellTool:
    """Runs programs. The step is repeated after a crash: at least once."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def execute(self, verb: str, params: BaseModel, context: ToolContext) -> BaseModel:
        """Run ``shell.execute``. Bytes printed that are no UTF-8 text stand as U+FFFD.

        Raises:
            SomaError: PARAMS_INVALID; else as :meth:`Sandbox.run`.
        """
        if not isinstance(params, ShellExecuteParams):
            raise SomaError(Code.PARAMS_INVALID, f"shell has no action {verb!r}.")
        _check(params.command)
        finished = await self._sandbox.run(context, params.command, Grant(stdin=(params.stdin or "").encode()))
        return ShellExecuteOutput(
            exit_code=finished.exit_code, stdout=printable(finished.stdout), stderr=printable(finished.stderr)
        )


def _check(command: list[str]) -> None:
    if not command[0]:
        raise SomaError(Code.COMMAND_NOT_FOUND, "The command's first word, the program, is empty.")
    for argument in command:
        if "\0" in argument:
            raise SomaError(Code.PARAMS_INVALID, "An argument of the command holds a null character.")
        if len(argument.encode()) > MAX_ARGUMENT_BYTES:
            raise SomaError(
                Code.PARAMS_INVALID,
                f"An argument of the command is longer than {MAX_ARGUMENT_BYTES:,} bytes. Give it by stdin or a file.",
            )

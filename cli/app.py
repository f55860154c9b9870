"""The ``somagent`` command. Each command's module is imported when it is called, so that help is quick."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

from cyclopts import App, CycloptsError

from somagent.cli.output import complain
from somagent.domain.errors import Code, SomaError

DONE, FAILED, WRONG_USE, NOT_REACHABLE = 0, 1, 2, 3
_INTERRUPTED = 130
_AWAY = frozenset(
    {Code.STACK_NOT_RUNNING, Code.DATABASE_UNAVAILABLE, Code.REDIS_UNAVAILABLE, Code.TEMPORAL_UNAVAILABLE}
)

app = App(
    name="somagent",
    help="Governed agent work: task capsules, executed as durable Temporal workflows.",
    version=lambda: version("somagent"),
    result_action="return_value",
)
app.command("somagent.cli.stack:up", name="up", help="Start the whole stack and wait until each part answers.")
app.command("somagent.cli.stack:down", name="down", help="Stop the stack in order; its data stays.")
app.command("somagent.cli.stack:status", name="status", help="Show every process of the stack and its health.")
app.command("somagent.cli.stack:logs", name="logs", help="Show the logs of the stack's parts.")
app.command("somagent.cli.doctor:doctor", name="doctor", help="Say what is missing on this machine, and how to get it.")
app.command("somagent.cli.processes:serve", name="serve", help="Run the API, or one of its services alone.")
app.command("somagent.cli.processes:worker", name="worker", help="Run a worker of one role.")
app.command("somagent.cli.processes:migrate", name="migrate", help="Bring the database to the current schema.")
app.command("somagent.cli.capsules:app", name="capsule", help="Check, hash and submit the capsule in a YAML file.")
app.command("somagent.cli.audit:app", name="audit", help="Check exports of the audit chain, offline.")
app.command(
    "somagent.cli.constitution:app", name="constitution", help="Make keys, sign and check constitutions, offline."
)
app.command("somagent.cli.tokens:app", name="tokens", help="Issue access tokens with the data dir's own key.")
app.command("somagent.cli.users:app", name="users", help="Let somebody in again who has lost their password.")
app.command("somagent.cli.keys:app", name="keys", help="Show, renew and retire the deployment's signing keys.")


def main() -> None:
    """Runs the command line and ends the process: 0 done, 1 failed, 2 wrong use, 3 not reachable."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command line.

    Returns:
        The exit code.
    """
    try:
        result = app(arguments, exit_on_error=False)
    except CycloptsError:  # cyclopts has said what is wrong
        return WRONG_USE
    except SomaError as error:
        complain(error.detail)
        return _exit_code(error)
    except BrokenPipeError:  # the reader of our output has gone; nothing may be flushed into it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    return result if isinstance(result, int) else DONE


def _exit_code(error: SomaError) -> int:
    if error.code is Code.INPUT_INVALID:
        return WRONG_USE
    return NOT_REACHABLE if error.code in _AWAY else FAILED


if __name__ == "__main__":
    main()

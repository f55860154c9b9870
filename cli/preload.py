"""The preloader: a process that has imported everything and forks SomaGent's own processes from that (Linux).

Five processes that each import the same libraries cost five times their seconds of start, and their memory. Forked
from here they share both, and one that was killed is back in a moment. Nothing but imports happens before a fork: no
thread, no event loop, no connection.

Speaks lines of JSON on its standard streams with :mod:`somagent.deploy.local.forks`.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import sys
from typing import NoReturn

from setproctitle import setproctitle

from somagent.adapters.settings import load_settings
from somagent.cli.app import run
from somagent.deploy.local import prepare
from somagent.deploy.local.fork_messages import ForkRequest, Reply, Request

TITLE = "somagent preloader"
MODULES = ("somagent.cli.processes", "somagent.api.server", "somagent.workers.main")
"""Imported by name: they are what the command line imports only when it is told to serve or to work."""
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Imports, then answers until the supervisor closes the stream."""
    replies = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what an import prints is no reply
    setproctitle(TITLE)
    libc = ctypes.CDLL(None)
    for module in MODULES:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # objects made so far are not looked at again, so their pages stay shared
    for line in sys.stdin:
        request = Request.model_validate_json(line)
        reply = Reply()
        if request.fork is not None:
            reply = Reply(pid=_fork(request.fork, replies, libc))
        elif request.end is not None:
            reply = Reply(pid=request.end.pid, code=_exit_code(request.end.pid))
        os.write(replies, reply.model_dump_json().encode() + b"\n")


def _fork(request: ForkRequest, replies: int, libc: ctypes.CDLL) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(request, parent, replies, libc)
    return pid


def _become(request: ForkRequest, parent: int, replies: int, libc: ctypes.CDLL) -> NoReturn:
    """Turns the fresh fork into the process that was asked for; it never returns into the preloader's loop."""
    code = 1
    try:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() == parent:
            os.setsid()
            os.close(replies)
            _redirect(request.log)
            os.environ.clear()
            os.environ.update(request.environment)
            setproctitle(request.title)
            load_settings.cache_clear()
            code = run(request.arguments) if request.arguments else prepare.main()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)


def _exit_code(pid: int) -> int | None:
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return -signal.SIGKILL
    return os.waitstatus_to_exitcode(status) if ended else None


if __name__ == "__main__":
    main()

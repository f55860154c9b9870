"""shell.execute in each confinement that this machine can do."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from somagent.adapters.settings import Settings
from somagent.adapters.tools.bubblewrap import BWRAP_NAMES, Bubblewrap
from somagent.adapters.tools.landlock import Landlock
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.registry import ToolRegistry
from somagent.adapters.tools.sandbox import Confinement, Sandbox, works
from somagent.adapters.tools.shell import ShellTool
from somagent.domain.actions.local import ShellExecuteOutput, ShellExecuteParams
from somagent.domain.errors import Code, SomaError
from somagent.tests.tools.bench import Bench

_WORKER = """
import asyncio, os, sys
from pathlib import Path
from somagent.adapters.tools.bubblewrap import BWRAP_NAMES, Bubblewrap
from somagent.adapters.tools.grant import Grant
from somagent.adapters.tools.landlock import Landlock
from somagent.adapters.tools.port import ToolContext
from somagent.adapters.tools.sandbox import Sandbox

name, workspace, mark = sys.argv[1:]
root = os.geteuid() == 0
confinement = (
    Landlock(as_root=root) if name == "landlock" else Bubblewrap(BWRAP_NAMES[0], as_root=root, own_process_count=True)
)
context = ToolContext("tenant", "job", "step", "job:step", Path(workspace), timeout_seconds=60.0)
command = ["bash", "-c", 'setsid sleep "$1" & sleep "$1"', "bash", mark]
asyncio.run(Sandbox(confinement).run(context, command, Grant()))
"""
ROOT = os.geteuid() == 0


class Shell:
    """Runs commands in one confinement."""

    def __init__(self, confinement: Confinement, context: ToolContext) -> None:
        self.tool = ShellTool(Sandbox(confinement))
        self.context = context

    async def run(self, *command: str, stdin: str | None = None, seconds: float = 20.0) -> ShellExecuteOutput:
        """The output of a command."""
        params = ShellExecuteParams(command=list(command), stdin=stdin)
        output = await self.tool.execute("execute", params, replace(self.context, timeout_seconds=seconds))
        assert isinstance(output, ShellExecuteOutput)
        return output

    async def line(self, line: str, seconds: float = 20.0) -> ShellExecuteOutput:
        """The output of a line of the sandbox's own bash."""
        return await self.run("bash", "-c", line, seconds=seconds)


@pytest.fixture(params=["bubblewrap", "landlock"])
async def shell(request: pytest.FixtureRequest, context: ToolContext) -> Shell:
    confinement: Confinement = (
        Landlock(as_root=ROOT)
        if request.param == "landlock"
        else Bubblewrap(BWRAP_NAMES[0], as_root=ROOT, own_process_count=True)
    )
    assert await works(confinement)
    return Shell(confinement, context)


@pytest.fixture
def private_folder() -> Iterator[Path]:
    """A folder of ours outside the job's, open to every user of the machine."""
    folder = Path.cwd() / ".pytest_cache" / "private"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key").write_text("hidden-key")
    (folder / "key").chmod(0o666)
    folder.chmod(0o777)
    yield folder
    (folder / "key").unlink()
    folder.rmdir()


async def test_runs_a_program_in_the_jobs_folder(shell: Shell, workspace: Path) -> None:
    (workspace / "a.txt").write_text("given")
    output = await shell.run("sh", "-c", "cat a.txt -; echo made > b.txt; echo wrong >&2; exit 3", stdin=" stdin")
    assert (output.exit_code, output.stdout, output.stderr) == (3, "given stdin", "wrong\n")
    assert (workspace / "b.txt").read_text() == "made\n"


async def test_what_the_programs_leave_can_be_read_and_replaced(shell: Shell) -> None:
    registry = ToolRegistry(Settings())
    bench = Bench(registry, shell.context)
    await shell.line("mkdir -p out; echo 1 > out/made; chmod 600 out/made")
    assert (await bench.get("files.read", path="out/made"))["content"] == "1\n"
    await bench.run("files.write", path="out/made", content="2\n")
    assert (await shell.line("cat out/made; echo 3 >> out/made; cat out/made")).stdout == "2\n2\n3\n"
    await registry.close()


async def test_metacharacters_are_plain_arguments(shell: Shell, workspace: Path) -> None:
    arguments = [
        "$(touch x)",
        "`touch x`",
        "; touch x",
        "| touch x",
        "> x",
        "&& touch x",
        "*",
        "~",
        "$HOME",
        "a\nb",
        "",
    ]
    output = await shell.run("printf", "%s\\n", *arguments)
    assert output.stdout == "".join(argument + "\n" for argument in arguments)
    assert not (workspace / "x").exists()


async def test_is_an_unprivileged_user(shell: Shell) -> None:
    output = await shell.line("id -u; id -G; grep -E 'CapEff|NoNewPrivs' /proc/self/status")
    lines = output.stdout.split("\n")
    if ROOT or "bubblewrap" in str(await shell.tool._sandbox.confinement()):
        assert lines[:2] == ["65534", "65534"]
    assert (await shell.line("mount -t tmpfs none /mnt; chown 0 /workspace; hostname x")).exit_code != 0


async def test_what_programs_expect_of_a_machine_is_there(context: ToolContext) -> None:
    shell = Shell(Bubblewrap(BWRAP_NAMES[0], as_root=ROOT, own_process_count=True), context)
    output = await shell.line(
        "whoami; ls /etc/ld.so.cache; awk 'BEGIN { print 1 + 1 }'; touch /tmp/a /dev/shm/a && mktemp -u"
    )
    assert output.stdout.split("\n")[:3] == ["nobody", "/etc/ld.so.cache", "2"], output
    assert output.stdout.split("\n")[3].startswith("/tmp/")  # noqa: S108
    assert (await shell.line("touch /etc/x || touch /x || touch /dev/x || touch /usr/x")).exit_code != 0


async def test_our_environment_is_not_there(shell: Shell) -> None:
    names = {line.partition("=")[0] for line in (await shell.run("env")).stdout.splitlines()}
    assert names <= {"PATH", "HOME", "LANG", "TMPDIR", "PWD", "SHLVL", "_", "GIT_CONFIG_SYSTEM"}
    others = await shell.line("cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' | cut -d= -f1 | sort -u")
    assert set(others.stdout.split()) <= {
        "PATH",
        "HOME",
        "LANG",
        "TMPDIR",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
        "GIT_CONFIG_SYSTEM",
    }


async def test_outside_files_are_invisible(shell: Shell, private_folder: Path, tmp_path: Path) -> None:
    key = private_folder / "key"
    other = tmp_path / "workspaces" / "other"
    other.mkdir()
    (other / "theirs").write_text("hidden-key")
    for line in (
        f"cat {shlex.quote(str(key))}",
        f"ls {shlex.quote(str(private_folder))}",
        f"echo changed > {shlex.quote(str(key))}",
        f"rm {shlex.quote(str(key))}",
        f"cat {shlex.quote(str(other / 'theirs'))}",
        "cat ../../other/theirs",
        f"ln -s {shlex.quote(str(key))} link; cat link",
        "cat /etc/shadow",
        "ls /root",
        "ls /home",
        "ls /var/lib",
        "touch /usr/made",
        "cat /proc/1/root/etc/shadow",
    ):
        output = await shell.line(line)
        assert output.exit_code != 0, line
        assert "hidden-key" not in output.stdout
    assert key.read_text() == "hidden-key"


async def test_shared_folders_and_attachments_can_be_read_and_not_changed(shell: Shell, shared: Path) -> None:
    output = await shell.line("cat shared/notes/deep/b.md attachments/given.txt")
    assert output.stdout == "deeper\ngiven\n"
    await shell.line("echo x > shared/notes/a.md; rm -f shared/notes/a.md; touch attachments/new; mv shared gone")
    assert (shared / "a.md").read_text() == "shared text\n"
    assert (await shell.line("cat shared/notes/a.md")).stdout == "shared text\n"
    listing = await Bench(ToolRegistry(Settings()), shell.context).get("files.list", path="attachments")
    assert [entry["path"] for entry in listing["entries"]] == ["attachments/given.txt"]


async def test_a_link_made_by_a_program_leads_nowhere(shell: Shell, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden-key")
    await shell.line(f"ln -s {shlex.quote(str(secret))} link; ln -s / root; ln -s {shlex.quote(str(tmp_path))} folder")
    bench = Bench(ToolRegistry(Settings()), shell.context)
    for path in ("link", "root/etc/passwd", "folder/secret"):
        await bench.refused("files.read", Code.PATH_OUTSIDE_WORKSPACE, path=path)
    await bench.refused("files.write", Code.PATH_OUTSIDE_WORKSPACE, path="folder/secret", content="x")
    assert secret.read_text() == "hidden-key"


async def test_a_link_in_the_place_of_a_mount_is_refused(context: ToolContext, workspace: Path, tmp_path: Path) -> None:
    (workspace / "shared").symlink_to(tmp_path)
    with pytest.raises(SomaError) as caught:
        await Shell(Bubblewrap(BWRAP_NAMES[0], as_root=ROOT, own_process_count=True), context).run("true")
    assert caught.value.code == Code.PATH_OUTSIDE_WORKSPACE


async def test_there_is_no_network(shell: Shell) -> None:
    with_socket = (
        "import socket, sys\n"
        "for family, kind, address in ((2, 1, ('127.0.0.1', int(sys.argv[1]))), (2, 2, ('1.1.1.1', 53)),"
        " (10, 1, ('::1', 80)), (1, 1, '\\0abstract')):\n"
        "    try:\n"
        "        s = socket.socket(family, kind); s.settimeout(2); s.connect(address); s.send(b'x'); print('reached')\n"
        "    except OSError as error: print('refused:', error)\n"
    )
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    output = await shell.run("python3", "-c", with_socket, str(port))
    server.close()
    assert output.stdout.count("refused:") == 4, output
    assert "reached" not in output.stdout


async def test_no_socket_of_the_machine_can_be_reached(shell: Shell, private_folder: Path) -> None:
    path = private_folder / "socket"
    server = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), path)
    path.chmod(0o777)
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"
    output = await shell.run("python3", "-c", code, str(path))
    server.close()
    path.unlink(missing_ok=True)
    assert output.exit_code != 0


async def test_other_processes_can_be_neither_seen_nor_ended(shell: Shell) -> None:
    assert str(os.getpid()) not in (await shell.line("cd /proc && ls -d [0-9]*")).stdout.split()
    assert (await shell.line(f"kill -9 {os.getpid()}")).exit_code != 0


async def test_a_command_that_is_not_there(shell: Shell, workspace: Path) -> None:
    (workspace / "plain").write_text("not executable")
    for program in ("no-such-program", "/no/such", "./none", "./plain", ""):
        with pytest.raises(SomaError) as caught:
            await shell.run(program)
        assert caught.value.code == Code.COMMAND_NOT_FOUND
    assert (await shell.line("exit 127")).exit_code == 127


async def test_a_signal_is_an_ordinary_end(shell: Shell) -> None:
    assert (await shell.line("kill -TERM $$")).exit_code == 128 + signal.SIGTERM


async def test_the_time_limit_ends_everything_that_was_started(shell: Shell) -> None:
    mark = f"31{os.getpid() % 1000:03d}.{time.monotonic_ns() % 1000:03d}"
    with pytest.raises(SomaError) as caught:
        await shell.line(f"setsid sleep {mark} & (trap '' TERM; sleep {mark}) & sleep {mark}", seconds=1)
    assert caught.value.code == Code.STEP_TIMED_OUT
    await _until_gone(mark)


async def test_nothing_outlives_the_step(shell: Shell) -> None:
    mark = f"32{os.getpid() % 1000:03d}.{time.monotonic_ns() % 1000:03d}"
    line = f"setsid sleep {mark} >/dev/null 2>&1 & setsid -f sleep {mark} >/dev/null 2>&1; echo started"
    assert (await shell.line(line)).stdout == "started\n"
    await _until_gone(mark)


async def test_cancelling_ends_the_program(shell: Shell) -> None:
    mark = f"33{os.getpid() % 1000:03d}.{time.monotonic_ns() % 1000:03d}"
    task = asyncio.create_task(shell.line(f"setsid sleep {mark} & sleep {mark}"))
    await _until_running(mark)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until_gone(mark)


@pytest.mark.parametrize("confinement", ["bubblewrap", "landlock"])
async def test_a_killed_workers_programs_end_with_it(context: ToolContext, confinement: str) -> None:
    mark = f"34{os.getpid() % 1000:03d}.{time.monotonic_ns() % 1000:03d}"
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _WORKER, confinement, str(context.workspace), mark
    )
    await _until_running(mark)
    await asyncio.sleep(0.3)
    worker.kill()
    await worker.wait()
    await _until_gone(mark)


async def test_a_shared_folder_that_went_away_is_simply_not_there(shell: Shell, tmp_path: Path) -> None:
    without = replace(shell.context, shares={"gone": tmp_path / "gone"})
    output = await shell.tool.execute("execute", ShellExecuteParams(command=["ls", "shared/gone/"]), without)
    assert isinstance(output, ShellExecuteOutput)
    assert output.stdout == ""


async def test_the_output_limit(shell: Shell) -> None:
    for line in ("yes", "yes >&2", "head -c 1048577 /dev/zero"):
        with pytest.raises(SomaError) as caught:
            await shell.line(line)
        assert caught.value.code == Code.OUTPUT_TOO_LARGE
    assert len((await shell.line("head -c 1048576 /dev/zero | tr '\\0' x")).stdout) == 1048576


async def test_a_fork_bomb_stays_in_its_sandbox(shell: Shell) -> None:
    with pytest.raises(SomaError) as caught:
        await shell.line("bomb() { bomb | bomb & }; bomb; sleep 30", seconds=2)
    assert caught.value.code in {Code.STEP_TIMED_OUT, Code.OUTPUT_TOO_LARGE}
    count = await shell.line("for i in $(seq 600); do sleep 5 & done 2>&1 | grep -c -i resource; true", seconds=20)
    assert "0" not in count.stdout.split()
    assert (await shell.run("true")).exit_code == 0


async def test_memory_and_file_size_have_limits(shell: Shell) -> None:
    output = await shell.run("python3", "-c", "x = bytearray(5 * 1024 ** 3)")
    assert output.exit_code != 0
    assert "MemoryError" in output.stderr
    await shell.line("truncate -s 2G big")
    assert (
        not (shell.context.workspace / "big").exists() or (shell.context.workspace / "big").stat().st_size < 2 * 1024**3
    )


async def test_it_gives_signs_of_life(shell: Shell) -> None:
    beats: list[float] = []
    patient = replace(shell.context, heartbeat=lambda: beats.append(time.monotonic()))
    await shell.tool.execute("execute", ShellExecuteParams(command=["sleep", "2.5"]), patient)
    assert len(beats) >= 2


async def test_output_that_is_no_text(shell: Shell) -> None:
    assert (await shell.run("printf", "a\\0b\\377c")).stdout == "a\ufffdb\ufffdc"


async def test_arguments_that_no_program_can_take(bench: Bench) -> None:
    await bench.refused("shell.execute", Code.PARAMS_INVALID, command=["echo", "a\0b"])
    await bench.refused("shell.execute", Code.PARAMS_INVALID, command=["echo", "x" * 200_000])


async def test_the_machines_own_confinement_is_found(bench: Bench) -> None:
    assert (await bench.get("shell.execute", command=["echo", "hello"])) == {
        "exit_code": 0,
        "stdout": "hello\n",
        "stderr": "",
    }


async def _until_running(mark: str) -> None:
    async with asyncio.timeout(20):
        while not _running(mark):  # noqa: ASYNC110 - another process gives no event
            await asyncio.sleep(0.05)


async def _until_gone(mark: str) -> None:
    """The kernel ends a namespace's processes right after its first, not in the same instant."""
    async with asyncio.timeout(3):
        while _running(mark):  # noqa: ASYNC110 - another process gives no event
            await asyncio.sleep(0.05)


def _running(mark: str) -> bool:
    return any(["sleep", mark] == process.info["cmdline"] for process in psutil.process_iter(["cmdline"]))

"""Runs one program confined by Landlock and seccomp. A program of its own; it imports the standard library only.

    python -I -S confine.py ORDER

ORDER is JSON: {"command", "folder", "writable"[], "readable"[], "user" (id or null), "network", "metadata",
"address_space", "file_size", "open_files", "processes"}. With ``--probe`` in its place it says whether this machine
can do it.

The program's parent stays outside the confinement, adopts whatever the program leaves behind, and ends all of it when
the program ends or SIGTERM comes, so that nothing outlives the step. Source of the numbers: the kernel's
``landlock.h``, ``seccomp.h``, ``filter.h`` and the architectures' syscall tables.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import stat
import struct
import sys
from typing import NoReturn

FAILED_TO_EXECUTE = "confine: failed to execute"
SETUP_FAILED = 125

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 22, 36, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ABI_WITH_TRUNCATE, _ABI_WITH_DEVICES, _ABI_WITH_SIGNALS = 3, 5, 6
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _DEVICE_CONTROL = 1 << 14, 1 << 15
_UP_TO_TRUNCATE = (1 << 15) - 1
_READ = _EXECUTE | _READ_FILE | _READ_FOLDER
_ON_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _DEVICE_CONTROL
_SCOPED_SOCKETS_AND_SIGNALS = 0b11

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Reaching other processes, the network and the kernel's wider surface; socketpair stays.
_NETWORK = {"x86_64": (41, 42), "aarch64": (198, 203)}
_NEVER = {
    "x86_64": (101, 155, 161, 165, 166, 248, 249, 250, 272, 298, 308, 310, 311, 321, 323, 425, 426, 427),
    "aarch64": (39, 40, 41, 51, 97, 117, 217, 218, 219, 241, 268, 270, 271, 280, 282, 425, 426, 427),
}
# Landlock does not see these; a program that keeps our own user must not change modes and owners by path.
_METADATA = {
    "x86_64": (90, 92, 94, 188, 189, 197, 198, 260, 268, 452, 463, 466),
    "aarch64": (5, 6, 14, 15, 53, 54, 452, 463, 466),
}

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    """Do as the first argument says, and end with the program's exit code (128 + number where a signal ended it)."""
    if sys.argv[1] == "--probe":
        sys.exit(0 if _possible() else 1)
    order = json.loads(sys.argv[1])
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        _become(order)
    signal.signal(signal.SIGTERM, lambda *_: _end(128 + signal.SIGTERM))
    while True:
        gone, status = os.wait()
        if gone == child:
            code = os.waitstatus_to_exitcode(status)
            _end(128 - code if code < 0 else code)


def _possible() -> bool:
    least = _ABI_WITH_TRUNCATE if os.geteuid() == 0 else _ABI_WITH_SIGNALS
    return platform.machine() in _ARCHITECTURES and _abi() >= least


def _end(code: int) -> NoReturn:
    """End with everything below this process: stop all first, so that nothing forks on while it is killed."""
    while below := _descendants():
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in below:
                try:
                    os.kill(process, number)
                except ProcessLookupError:
                    continue
        _reap()
    os._exit(code)


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
                    state, parent = file.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if state != "Z" or int(parent) == os.getpid():
                children.setdefault(int(parent), []).append(int(name))
    found = list(children.get(os.getpid(), ()))
    for process in found:
        found += children.get(process, ())
    return found


def _become(order: dict[str, object]) -> NoReturn:
    command: list[str] = order["command"]  # type: ignore[assignment]
    try:
        os.chdir(str(order["folder"]))
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _set_limits(order)
        rules = _rules(order)
        _drop(order["user"])
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _call(_RESTRICT_SELF, rules, 0)
        os.close(rules)
        _filter_calls(network=bool(order["network"]), metadata=not order["metadata"])
    except (OSError, ValueError) as error:
        os.write(2, f"confine: cannot confine: {error}\n".encode())
        os._exit(SETUP_FAILED)
    try:
        os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
    except OSError as error:
        os.write(2, f"{FAILED_TO_EXECUTE} {command[0]}: {error.strerror}\n".encode())
        os._exit(127)


def _set_limits(order: dict[str, object]) -> None:
    user = order["user"]
    used = 0 if user is not None else _threads_of(os.getuid())
    for which, value in (
        (resource.RLIMIT_AS, order["address_space"]),
        (resource.RLIMIT_FSIZE, order["file_size"]),
        (resource.RLIMIT_NOFILE, order["open_files"]),
        (resource.RLIMIT_NPROC, int(str(order["processes"])) + used),
        (resource.RLIMIT_CORE, 0),
    ):
        limit = int(str(value))
        resource.setrlimit(which, (limit, limit))


def _threads_of(user: int) -> int:
    """Threads that the user has already: the kernel counts them all against the limit of processes."""
    count = 0
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == user:  # noqa: PTH116
                    count += len(os.listdir(f"/proc/{name}/task"))  # noqa: PTH208
            except OSError:
                continue
    return count


def _drop(user: object) -> None:
    if user is not None:
        number = int(str(user))
        os.setgroups([])
        os.setresgid(number, number, number)
        os.setresuid(number, number, number)


def _abi() -> int:
    return int(_libc.syscall(_CREATE_RULESET, None, 0, 1))


def _rules(order: dict[str, object]) -> int:
    abi = _abi()
    handled = _UP_TO_TRUNCATE | (_DEVICE_CONTROL if abi >= _ABI_WITH_DEVICES else 0)
    attributes = struct.pack("=Q", handled)
    if abi >= _ABI_WITH_SIGNALS:
        attributes += struct.pack("=QQ", 0, _SCOPED_SOCKETS_AND_SIGNALS)
    rules = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    readable: list[str] = order["readable"]  # type: ignore[assignment]
    writable: list[str] = order["writable"]  # type: ignore[assignment]
    for path in readable:
        _allow(rules, path, _READ)
    for path in writable:
        _allow(rules, path, handled & ~_DEVICE_CONTROL)
    return rules


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(os.fstat(place).st_mode):
        rights &= _ON_FILES
    _call(_ADD_RULE, rules, 1, struct.pack("=Qi", rights, place), 0)
    os.close(place)


def _filter_calls(*, network: bool, metadata: bool) -> None:
    """Let the kernel refuse the listed calls with EPERM; a foreign architecture's call ends the program."""
    machine = platform.machine()
    refused = [*_NEVER[machine], *(() if network else _NETWORK[machine]), *(_METADATA[machine] if metadata else ())]
    load, jump_equal, jump_at_least, give = 0x20, 0x15, 0x35, 0x06
    kill, permit, refuse = 0x80000000, 0x7FFF0000, 0x00050001
    program = [(load, 0, 0, 4), (jump_equal, 1, 0, _ARCHITECTURES[machine]), (give, 0, 0, kill), (load, 0, 0, 0)]
    program.append((jump_at_least, len(refused) + 1, 0, 0x40000000))
    program += [(jump_equal, len(refused) - place, 0, number) for place, number in enumerate(refused)]
    program += [(give, 0, 0, permit), (give, 0, 0, refuse)]
    code = b"".join(struct.pack("=HBBI", *line) for line in program)
    held = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HP", len(program), ctypes.addressof(held))
    _prctl(_PR_SET_SECCOMP, 2, header)


def _prctl(option: int, *arguments: object) -> None:
    padded = [*arguments, 0, 0, 0, 0][:4]
    if _libc.prctl(option, *(_word(value) for value in padded)) != 0:
        _raise(f"prctl {option}")


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *(_word(value) for value in arguments)))
    if result < 0:
        _raise(f"call {number}")
    return result


def _word(value: object) -> object:
    return value if isinstance(value, bytes) else ctypes.c_ulong(int(str(int(value))))  # type: ignore[call-overload]


def _raise(what: str) -> NoReturn:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main()

"""Ports on the loopback interface: kept where possible, never two stacks on one.

Stacks that start at the same time see each other in a register of this user's machine folder, since a port that
was chosen is bound only a moment later.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from somagent.deploy.local.layout import machine_dir
from somagent.domain.errors import Code, SomaError

HOST = "127.0.0.1"
_FREE_RANGE = range(20_000, 32_000)
"""Below the range from which the kernel takes the ports of outgoing connections, so that a port stays ours."""

PREFERRED = {
    "temporal": 7233,
    "temporal-ui": 8233,
    "redis": 6379,
    "worker-workflows": 9101,
    "worker-activities": 9102,
    "worker-slm": 9103,
    "worker-relay": 9104,
}


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port on which nothing listens now."""
    candidates = random.SystemRandom().sample(_FREE_RANGE, 200)
    return next(port for port in candidates if is_free(port))


def require_free(port: int) -> None:
    """Refuses a taken port.

    Raises:
        SomaError: ``port_taken``, naming the process that listens there where the system tells.
    """
    if is_free(port):
        return
    raise SomaError(
        Code.PORT_TAKEN,
        f"Port {port} is taken{_listener(port)}. Stop that process, or choose another port with --port.",
    )


def choose_ports(names: list[str], remembered: dict[str, int], *, reserved: int) -> dict[str, int]:
    """A port for each name: the remembered one, else the usual one, else any; none that another stack has chosen.

    ``reserved`` is the API's port, chosen already.
    """
    with _register() as taken_by:
        others = {port for ports in taken_by.values() for port in ports} | {reserved}
        chosen: dict[str, int] = {}
        for name in names:
            wished = [port for port in (remembered.get(name), PREFERRED.get(name)) if port is not None]
            usable = (port for port in _then_any(wished) if port not in others and port not in chosen.values())
            chosen[name] = next(port for port in usable if is_free(port))
        taken_by[os.getpid()] = sorted([reserved, *chosen.values()])
        return chosen


def _then_any(wished: list[int]) -> Iterator[int]:
    yield from wished
    while True:
        yield free_port()


@contextmanager
def _register() -> Iterator[dict[int, list[int]]]:
    """The ports that living supervisors have chosen, by process id; changes are written back."""
    machine_dir().mkdir(parents=True, exist_ok=True)
    path = machine_dir() / "ports.json"
    with path.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        entries = _living(file.read())
        yield entries
        file.seek(0)
        file.truncate()
        json.dump(entries, file)


def _living(text: str) -> dict[int, list[int]]:
    try:
        entries = json.loads(text or "{}")
    except ValueError:
        return {}
    own = os.getpid()
    return {int(pid): ports for pid, ports in entries.items() if int(pid) != own and _lives(int(pid))}


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _listener(port: int) -> str:
    try:
        connections = psutil.net_connections("inet")
    except psutil.Error:
        return ""
    for connection in connections:
        listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
        if listens and connection.pid:
            return f" by {_name_of(connection.pid)} (process {connection.pid})"
    return ""


def _name_of(pid: int) -> str:
    try:
        return Path(psutil.Process(pid).name()).name
    except psutil.Error:
        return "a process"

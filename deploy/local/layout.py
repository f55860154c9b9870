"""Where a stack keeps what it keeps: one data directory, one folder a part."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOCKET_PATH_LIMIT = 107
"""Longest path of a unix socket on Linux, in bytes (sun_path less its closing zero)."""
_SOCKET_NAME = "/.s.PGSQL.5432"


def default_data_dir() -> Path:
    """``$SOMAGENT_DATA_DIR``, else ``.somagent`` in the current folder."""
    return Path(os.environ.get("SOMAGENT_DATA_DIR") or ".somagent")


def machine_dir() -> Path:
    """A short folder of this user for what must not lie deep: sockets and the register of ports."""
    return Path(tempfile.gettempdir()) / f"somagent-{os.getuid()}"


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths inside one data directory."""

    root: Path

    @classmethod
    def of(cls, data_dir: Path) -> Layout:
        """The layout of a data directory, which need not exist yet."""
        return cls(data_dir.expanduser().resolve())

    @property
    def run(self) -> Path:
        """What lives as long as the stack runs: its state and its lock."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One log a part."""
        return self.root / "logs"

    @property
    def postgres(self) -> Path:
        """The database cluster."""
        return self.root / "postgres"

    @property
    def redis(self) -> Path:
        """Redis' append-only files."""
        return self.root / "redis"

    @property
    def temporal(self) -> Path:
        """Temporal's database file."""
        return self.root / "temporal"

    @property
    def keys(self) -> Path:
        """Signing keys."""
        return self.root / "keys"

    @property
    def state_file(self) -> Path:
        """What runs now; holds addresses with passwords, hence mode 0600."""
        return self.run / "stack.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor for as long as it lives."""
        return self.run / "supervisor.lock"

    @property
    def secrets_file(self) -> Path:
        """Passwords of the parts, made once."""
        return self.root / "secrets.json"

    @property
    def admin_password_file(self) -> Path:
        """The first administrator's password, mode 0600."""
        return self.root / "admin-password"

    @property
    def unseen_password_file(self) -> Path:
        """There until `up` has shown that password."""
        return self.run / "admin-password-unseen"

    @property
    def options_file(self) -> Path:
        """Ports and shares, remembered from one ``up`` to the next."""
        return self.root / "options.json"

    @property
    def socket_dir(self) -> Path:
        """Where Postgres has its socket: the run folder, or a short one where that path would be too long."""
        if len(os.fsencode(self.run)) + len(_SOCKET_NAME) <= SOCKET_PATH_LIMIT:
            return self.run
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return machine_dir() / digest

    def log_of(self, part: str) -> Path:
        """The log file of a part."""
        return self.logs / f"{part}.log"

    def make(self) -> None:
        """Makes the folders. Others may pass through the root (Postgres runs as its own user), not list it."""
        for folder in (self.root, self.run, self.logs, self.redis, self.temporal, machine_dir(), self.socket_dir):
            folder.mkdir(parents=True, exist_ok=True)
        for passed_through in (self.root, self.run, machine_dir(), self.socket_dir):
            passed_through.chmod(0o711)
        for private in (self.logs, self.redis, self.temporal):
            private.chmod(0o700)

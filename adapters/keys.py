"""The deployment's own Ed25519 signing keys: one PEM file each, readable by their owner alone.

The newest key signs; all of them verify. A file's name begins with the moment it was made, so names sort by age.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import KeyParameters, OKPKey

from somagent.domain.errors import Code, SomaError
from somagent.domain.signatures import sign

log = structlog.get_logger(__name__)

_SUFFIX = ".pem"
LOOK_SECONDS = 1.0
"""How often a process looks for new keys at most, unless a token names one that it does not know."""
_SETTLED_NANOSECONDS = 2_000_000_000


def ensure_keys(keys_dir: Path) -> None:
    """Make the folder (0700) and a first key (0600) where there is none. Safe in several processes at once."""
    with _locked(keys_dir):
        if not any(keys_dir.glob(f"*{_SUFFIX}")):
            _write_key(keys_dir)


class KeyRing:
    """The keys of one folder, held in memory; read again when a token names a key that is not known yet."""

    def __init__(self, keys_dir: Path) -> None:
        """Load every key, making a first one where there is none.

        Raises:
            OSError: the folder cannot be read or made.
            ValueError: a file is not an Ed25519 key.
        """
        self._folder = keys_dir
        self._lock = threading.Lock()
        self._keys: dict[str, OKPKey] = {}
        self._looked_at = 0.0
        self._folder_as_of: int | None = None
        self.generation = 0
        """Raised whenever the keys are read again."""
        ensure_keys(keys_dir)
        self._load()

    @property
    def active(self) -> OKPKey:
        """The newest key, which signs."""
        return next(reversed(self._keys.values()))

    def sign(self, payload_type: str, payload: bytes, kid: str | None = None) -> tuple[str, str]:
        """Sign a document (DSSE, Ed25519): the signature in base64, and the key's id.

        Args:
            kid: the key to sign with, where it is still there; else the newest signs.
        """
        self.refresh()
        key = self._keys.get(kid or "", self.active)
        private = key.private_key
        assert isinstance(private, Ed25519PrivateKey)  # noqa: S101 - _read_key takes no other
        return sign(payload_type, payload, private), kid_of(key)

    def find(self, kid: str) -> OKPKey | None:
        """The key of that id, made by another process a moment ago perhaps."""
        if kid not in self._keys:
            self._look()
        return self._keys.get(kid)

    def refresh(self) -> None:
        """Notice keys that were made or taken away; at most one look at the folder a second."""
        if time.monotonic() - self._looked_at > LOOK_SECONDS:
            self._look()

    def rotate(self) -> str:
        """Make a new key, which signs from now on. The older ones go on verifying. Answers its id.

        Raises:
            OSError: the folder cannot be written.
        """
        with _locked(self._folder):
            _write_key(self._folder)
        self._load()
        return kid_of(self.active)

    def retire(self, kid: str) -> None:
        """Take a key away: what it has signed verifies no more, in other processes within a second.

        Raises:
            SomaError: ``not_found``; ``validation_failed`` for the key that signs.
            OSError: the folder cannot be written.
        """
        with _locked(self._folder):
            self._load()
            if kid not in self._keys:
                raise SomaError(Code.NOT_FOUND, f"There is no key {kid} in {self._folder}.")
            if kid == kid_of(self.active):
                raise SomaError(Code.VALIDATION_FAILED, f"The key {kid} signs. Make a new one first (keys rotate).")
            for path in _key_files(self._folder):
                if kid_of(_read_key(path)) == kid:
                    path.unlink()
        self._load()

    def ages(self) -> list[tuple[str, datetime]]:
        """Every key's id and when it was made, newest first."""
        files = reversed(_key_files(self._folder))
        return [(kid_of(_read_key(path)), _made_at(path)) for path in files]

    def public_keys(self) -> list[dict[str, str | list[str]]]:
        """The JWKS entries of every key, newest first, without any private part."""
        entries = [key.as_dict(private=False, alg="EdDSA", use="sig") for key in reversed(self._keys.values())]
        return [{name: value for name, value in entry.items() if name != "d"} for entry in entries]

    def _look(self) -> None:
        """Read the keys again where the folder has changed."""
        self._looked_at = time.monotonic()
        try:
            if self._folder_as_of is None or self._folder.stat().st_mtime_ns != self._folder_as_of:
                self._load()
        except (OSError, ValueError) as error:  # go on with what is known, rather than not at all
            log.error("keys_not_read", folder=str(self._folder), error=repr(error))

    def _load(self) -> None:
        with self._lock:
            changed_at = self._folder.stat().st_mtime_ns
            keys = [_read_key(path) for path in _key_files(self._folder)]
            if not keys:
                return  # the folder is being replaced: go on with what is known
            self._keys = {kid_of(key): key for key in keys}
            # A change in the same tick of the file system's clock would not show: trust only what is a while old.
            settled = time.time_ns() - changed_at > _SETTLED_NANOSECONDS
            self._folder_as_of = changed_at if settled else None
            self._looked_at = time.monotonic()
            self.generation += 1


def kid_of(key: OKPKey) -> str:
    """A key's id: its RFC 7638 thumbprint."""
    return str(key.kid)


def _key_files(folder: Path) -> list[Path]:
    """Oldest first."""
    return sorted(folder.glob(f"*{_SUFFIX}"))


def _made_at(path: Path) -> datetime:
    """As its name says, or where somebody else has named it, its file."""
    if path.stem.isdigit():
        return datetime.fromtimestamp(int(path.stem) / 1e9, UTC)
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _read_key(path: Path) -> OKPKey:
    key = OKPKey.import_key(path.read_bytes())
    if key.curve_name != "Ed25519" or not key.is_private:
        raise ValueError(f"{path} is not an Ed25519 private key")
    parameters: KeyParameters = {"kid": key.thumbprint()}
    return OKPKey.import_key(path.read_bytes(), parameters)


def _write_key(folder: Path) -> None:
    pem = OKPKey.generate_key("Ed25519").as_pem(private=True)
    name = f"{time.time_ns():020d}{_SUFFIX}"
    temporary = folder / f".{name}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(folder / name)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

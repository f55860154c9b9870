"""Secrets that must be read again, such as those of second factors, encrypted with a key of their own (AES-256-GCM).

The key is a file beside the signing keys, so that a copy of the database alone tells nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from somagent.domain.errors import Code, SomaError

KEY_FILE: Final = "secrets.aes256"
"""32 bytes in base64."""
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_FORM: Final = "v1."


class Vault:
    """Encrypts and decrypts with the key of one folder, which is made at the first use."""

    def __init__(self, keys_dir: Path) -> None:
        self._file = keys_dir / KEY_FILE
        self._key: bytes | None = None

    def encrypt(self, secret: str, owner: str) -> str:
        """What may be stored. It can be read back only under the same ``owner``, so it is of no use in another row.

        Raises:
            SomaError: ``part_failed`` when the key is not there and cannot be made.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._load()).encrypt(nonce, secret.encode(), owner.encode())
        return _FORM + base64.b64encode(nonce + sealed).decode()

    def decrypt(self, stored: str, owner: str) -> str:
        """The secret.

        Raises:
            SomaError: ``part_failed`` when it was encrypted with another key, for another owner, or was changed.
        """
        try:
            raw = base64.b64decode(stored.removeprefix(_FORM), validate=True)
            return AESGCM(self._load()).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], owner.encode()).decode()
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise SomaError(
                Code.PART_FAILED,
                f"A stored secret cannot be read: {KEY_FILE} in the keys folder is not the file that it was encrypted "
                "with. Put the right file back, or have the secret made anew.",
            ) from error

    def digest(self, secret: str) -> str:
        """A keyed digest, for telling whether a secret is the same without keeping anything that it could be guessed
        from."""
        return hmac.digest(self._load(), b"digest\0" + secret.encode(), hashlib.sha256).hex()

    def _load(self) -> bytes:
        if self._key is None:
            try:
                self._make_where_missing()
                key = base64.b64decode(self._file.read_bytes().strip(), validate=True)
            except (OSError, binascii.Error) as error:
                raise SomaError(Code.PART_FAILED, _unusable(self._file)) from error
            if len(key) != _KEY_BYTES:
                raise SomaError(Code.PART_FAILED, _unusable(self._file))
            self._key = key
        return self._key

    def _make_where_missing(self) -> None:
        if self._file.exists():
            return
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._file.with_name(f".{KEY_FILE}.{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another process was quicker: its key it is
                os.link(temporary, self._file)
        finally:
            temporary.unlink()


def _unusable(file: Path) -> str:
    return (
        f"The key for stored secrets cannot be used: the keys folder needs a file {file.name} with 32 random bytes in "
        f"base64 (`openssl rand -base64 32`), readable by SomaGent alone. Where the folder can be written it is made."
    )

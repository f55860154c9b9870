"""Passwords: argon2id hashes, made and checked in threads, with the same work whether or not there is a user."""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from typing import Annotated, Final

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import Field, SecretStr

SHORTEST: Final = 12
LONGEST: Final = 1024
_AT_ONCE: Final = 4
"""Each hash takes 64 MiB for a tenth of a second."""

NewPassword = Annotated[
    SecretStr, Field(min_length=SHORTEST, max_length=LONGEST, description=f"{SHORTEST} to {LONGEST} characters")
]
"""A password to be set; its text shows in no log and no error."""
GivenPassword = Annotated[SecretStr, Field(min_length=1, max_length=LONGEST)]
"""A password to be checked."""


def generated() -> str:
    """A password that nobody guesses: 24 characters, 144 bits."""
    return secrets.token_urlsafe(18)


def hashed(password: str) -> str:
    """The argon2id hash (64 MiB, 3 passes), for programs that have nothing else to do meanwhile."""
    return _HASHER.hash(_normal(password))


class Passwords:
    """Hashing off the event loop, a few at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._nobodys = hashed(generated())

    async def hash(self, password: SecretStr) -> str:
        """What is stored for a password."""
        async with self._turns:
            return await asyncio.to_thread(hashed, password.get_secret_value())

    async def matches(self, password: SecretStr, stored: str | None) -> bool:
        """Whether it is the one. Where nothing is stored the same work is done, so that time tells nothing."""
        async with self._turns:
            fits = await asyncio.to_thread(_verify, password.get_secret_value(), stored or self._nobodys)
        return fits and stored is not None


_HASHER: Final = PasswordHash((Argon2Hasher(),))


def _verify(password: str, stored: str) -> bool:
    try:
        return _HASHER.verify(_normal(password), stored)
    except UnknownHashError:
        return False


def _normal(password: str) -> str:
    """The same password typed on another keyboard may come in other code points."""
    return unicodedata.normalize("NFC", password)

"""Second factors: time-based codes of RFC 6238 (SHA-1, 6 digits, 30 s), each taken once, one step early or late."""

from __future__ import annotations

import hmac
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

import asyncpg
import pyotp
from pydantic import Field

from somagent.adapters.postgres.tables import User
from somagent.adapters.vault import Vault
from somagent.domain.errors import Code, SomaError

STEP_SECONDS: Final = 30
_TOLERATED_STEPS: Final = 1
_ISSUER: Final = "SomaGent"

MfaCode = Annotated[str, Field(pattern=r"^[0-9]{6}$", description="Six digits of the authenticator app")]

_TAKE: Final = """
UPDATE users SET mfa_last_counter = $3
WHERE tenant_id = $1 AND id = $2 AND mfa_confirmed_at IS NOT NULL
  AND (mfa_last_counter IS NULL OR mfa_last_counter < $3)
RETURNING true
"""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator app needs; shown once."""

    secret: str
    otpauth_uri: str


def enrol(user: User, vault: Vault) -> Enrolment:
    """Give a user a new secret, which is asked for once it is confirmed. An unconfirmed one is replaced.

    Raises:
        SomaError: ``mfa_already_enrolled``.
    """
    if user.mfa_confirmed_at is not None:
        raise SomaError(
            Code.MFA_ALREADY_ENROLLED, "There is a second factor already. An administrator can remove it first."
        )
    secret = pyotp.random_base32()
    user.mfa_secret = vault.encrypt(secret, _owner(user.tenant_id, user.id))
    user.mfa_last_counter = None
    uri = pyotp.TOTP(secret).provisioning_uri(name=f"{user.id}@{user.tenant_id}", issuer_name=_ISSUER)
    return Enrolment(secret, uri)


def confirm(user: User, vault: Vault, code: str) -> None:
    """Put an enrolled second factor in force, by a first code of it.

    Raises:
        SomaError: ``mfa_not_enrolled``, ``mfa_already_enrolled`` or ``mfa_invalid``.
    """
    if user.mfa_confirmed_at is not None:
        raise SomaError(Code.MFA_ALREADY_ENROLLED, "The second factor is confirmed already.")
    if user.mfa_secret is None:
        raise SomaError(Code.MFA_NOT_ENROLLED, "There is no second factor to confirm. Enrol one first.")
    # The code still serves for the login that usually follows at once; that use is its last.
    counter_of(vault, user.tenant_id, user.id, user.mfa_secret, code)
    user.mfa_confirmed_at = datetime.now(UTC)


def remove(user: User) -> None:
    """Take the second factor away, confirmed or not.

    Raises:
        SomaError: ``mfa_not_enrolled``.
    """
    if user.mfa_secret is None:
        raise SomaError(Code.MFA_NOT_ENROLLED, "There is no second factor.")
    user.mfa_secret = user.mfa_confirmed_at = user.mfa_last_counter = None


def counter_of(vault: Vault, tenant_id: str, user_id: str, stored: str, code: str) -> int:
    """The time step that a code is of: the present one, or one before or after.

    Raises:
        SomaError: ``mfa_invalid``.
    """
    totp = pyotp.TOTP(vault.decrypt(stored, _owner(tenant_id, user_id)))
    present = int(time.time()) // STEP_SECONDS
    found = None
    for counter in range(present - _TOLERATED_STEPS, present + _TOLERATED_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(counter).encode(), code.encode()):
            found = counter
    if found is None:
        raise wrong_code()
    return found


async def take(connection: asyncpg.Connection, tenant_id: str, user_id: str, counter: int) -> None:
    """Use up a code: of any number of uses at once, one passes.

    Raises:
        SomaError: ``mfa_invalid``, when it or a later one was used before.
    """
    if not await connection.fetchval(_TAKE, tenant_id, user_id, counter):
        raise wrong_code()


def wrong_code() -> SomaError:
    """The refusal of a code that is wrong or was used before."""
    return SomaError(
        Code.MFA_INVALID, "The code is wrong, or it was used before. Wait for the next one, and check the clock."
    )


def _owner(tenant_id: str, user_id: str) -> str:
    return f"mfa\0{tenant_id}\0{user_id}"

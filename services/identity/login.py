"""From credentials to a token."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated, Final, Self

import asyncpg
from pydantic import Field, model_validator

from somagent.adapters.keys import KeyRing
from somagent.adapters.postgres.database import Database
from somagent.adapters.vault import Vault
from somagent.domain.capabilities import covers, require_owned
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject, Model
from somagent.domain.names import TENANT_PATTERN, USER_PATTERN
from somagent.services.audit.intake import Happening, take_in
from somagent.services.gate.gate import Gate
from somagent.services.identity import api_keys, attempts, second_factor
from somagent.services.identity.login_limits import LoginLimits
from somagent.services.identity.passwords import GivenPassword, Passwords
from somagent.services.identity.users import TOPIC, Capabilities
from somagent.services.tokens import API_TTL_SECONDS, mint

_USER: Final = """
SELECT capabilities, password_hash, mfa_secret, mfa_confirmed_at IS NOT NULL AS has_mfa,
  disabled_at IS NOT NULL AS is_disabled
FROM users WHERE tenant_id = $1 AND id = $2
"""
_KEY: Final = """
UPDATE api_keys SET last_used_at = now() WHERE key_hash = $3 AND tenant_id = $1 AND user_id = $2
  AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
RETURNING key_hash, capabilities
"""
_AGAIN: Final = """
SELECT password_hash, disabled_at IS NOT NULL AS is_disabled FROM users WHERE tenant_id = $1 AND id = $2 FOR SHARE
"""
_CUT_OFF: Final = """
SELECT floor(extract(epoch FROM cut_off_at))::bigint FROM token_cutoffs WHERE tenant_id = $1 AND user_id = $2
"""


class Credentials(Model):
    """Who asks for a token, how they show it, and what it shall allow."""

    user_id: Annotated[str, Field(pattern=USER_PATTERN)]
    tenant_id: Annotated[str, Field(pattern=TENANT_PATTERN)]
    password: GivenPassword | None = None
    api_key: api_keys.GivenKey | None = Field(default=None, description="In place of the password; asks for no code")
    capabilities: Capabilities = Field(
        default_factory=list, description="Only what the user holds; none given: all that they hold"
    )
    mfa_code: Annotated[str, Field(max_length=16)] | None = Field(
        default=None, description="Six digits, once the user's MFA is confirmed"
    )

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if (self.password is None) == (self.api_key is None):
            raise ValueError("give either password or api_key")
        return self


@dataclass(frozen=True, slots=True)
class Issued:
    """A token and what it allows."""

    token: str
    capabilities: tuple[str, ...]
    expires_in: int = API_TTL_SECONDS


@dataclass(frozen=True, slots=True)
class _Person:
    """Who has shown the right password or key: what they hold, and the second factor to be asked for."""

    owned: tuple[str, ...]
    method: str
    password_hash: str | None
    mfa_secret: str | None
    is_disabled: bool


@dataclass(frozen=True, slots=True)
class Login:
    """What logging in needs."""

    database: Database
    keyring: KeyRing
    gate: Gate
    passwords: Passwords
    vault: Vault
    limits: LoginLimits

    async def issue(self, given: Credentials, address: str) -> Issued:
        """A token for credentials.

        Args:
            address: where the request comes from.

        Raises:
            SomaError: ``credentials_invalid``, ``mfa_required``, ``mfa_invalid`` or ``user_disabled`` (401);
                ``capability_not_owned``; ``account_locked`` or ``rate_limited`` (429); ``constitution_unverifiable``.
        """
        await self.limits.check(address, given.tenant_id, given.user_id)
        await self.gate.watch.ensure_fresh()
        try:
            person = await self._recognised(given)
            return await self._admitted(given, person)
        except SomaError as error:
            if error.code in (Code.CREDENTIALS_INVALID, Code.MFA_INVALID):
                await self._refused(given, error.code)
            raise

    async def token_for(
        self,
        connection: asyncpg.Connection,
        tenant_id: str,
        user_id: str,
        capabilities: tuple[str, ...],
        method: str,
    ) -> Issued:
        """Mint and record a token of a person who was recognised, in the caller's transaction.

        Raises:
            SomaError: ``constitution_unverifiable``.
        """
        cut_off = await connection.fetchval(_CUT_OFF, tenant_id, user_id)
        token = mint(
            self.keyring, tenant_id, user_id, capabilities,
            constitution_hash=self.gate.constitutions.of(tenant_id).content_hash,
            not_before=0 if cut_off is None else int(cut_off) + 1,
        )  # fmt: skip
        await _record(connection, tenant_id, user_id, "token.issued", "done",
                      {"method": method, "capabilities": list(capabilities)})  # fmt: skip
        return Issued(token, capabilities)

    async def _recognised(self, given: Credentials) -> _Person:
        if given.api_key is not None:
            return await self._by_key(given, given.api_key.get_secret_value())
        assert given.password is not None  # noqa: S101 - Credentials has one or the other
        async with self.database.connection(given.tenant_id) as connection:
            await attempts.require_unlocked(connection, given.tenant_id, given.user_id)
            row = await connection.fetchrow(_USER, given.tenant_id, given.user_id)
        if not await self.passwords.matches(given.password, None if row is None else row["password_hash"]):
            raise _wrong()
        assert row is not None  # noqa: S101 - nothing matches where nothing is stored
        secret = row["mfa_secret"] if row["has_mfa"] else None
        return _Person(tuple(row["capabilities"]), "password", row["password_hash"], secret, row["is_disabled"])

    async def _by_key(self, given: Credentials, key: str) -> _Person:
        digest = api_keys.digest(key)
        async with self.database.connection(given.tenant_id) as connection:
            row = await connection.fetchrow(_USER, given.tenant_id, given.user_id)
            found = await connection.fetchrow(_KEY, given.tenant_id, given.user_id, digest)
        if row is None or found is None or not hmac.compare_digest(found["key_hash"], digest):
            raise _wrong()
        held = tuple(row["capabilities"])
        if found["capabilities"] is not None:
            held = tuple(name for name in found["capabilities"] if covers(held, name))
        return _Person(held, "api_key", row["password_hash"], None, row["is_disabled"])

    async def _admitted(self, given: Credentials, person: _Person) -> Issued:
        if person.is_disabled:
            raise user_disabled()
        counter = self._counter(given, person)
        require_owned(person.owned, given.capabilities, "the user")
        wanted = tuple(given.capabilities) or person.owned
        async with self.database.connection(given.tenant_id) as connection, connection.transaction():
            if person.method == "password":
                await attempts.clear(connection, given.tenant_id, given.user_id)
            await self._require_unchanged(connection, given, person)
            if counter is not None:
                await second_factor.take(connection, given.tenant_id, given.user_id, counter)
            return await self.token_for(connection, given.tenant_id, given.user_id, wanted, person.method)

    async def _require_unchanged(self, connection: asyncpg.Connection, given: Credentials, person: _Person) -> None:
        """What was recognised must still hold: a password that was changed meanwhile gives no token."""
        row = await connection.fetchrow(_AGAIN, given.tenant_id, given.user_id)
        if row is None or (person.method == "password" and row["password_hash"] != person.password_hash):
            raise _wrong()
        if row["is_disabled"]:
            raise user_disabled()

    def _counter(self, given: Credentials, person: _Person) -> int | None:
        if person.mfa_secret is None:
            return None
        if given.mfa_code is None:
            raise SomaError(
                Code.MFA_REQUIRED, "This user has a second factor: send mfa_code, the six digits of the app."
            )
        return second_factor.counter_of(self.vault, given.tenant_id, given.user_id, person.mfa_secret, given.mfa_code)

    async def _refused(self, given: Credentials, code: Code) -> None:
        """Count a wrong try, and record it where it is somebody's: what is no user may be a password typed there."""
        async with self.database.connection(given.tenant_id) as connection:
            await attempts.count_wrong(connection, given.tenant_id, given.user_id)
            if await connection.fetchval(
                "SELECT true FROM users WHERE tenant_id = $1 AND id = $2", given.tenant_id, given.user_id
            ):
                await _record(connection, given.tenant_id, given.user_id, "token.refused", "refused",
                              {"code": code.value})  # fmt: skip


async def _record(
    connection: asyncpg.Connection, tenant_id: str, user_id: str, action: str, outcome: str, detail: JsonObject
) -> None:
    await take_in(
        connection,
        Happening(
            tenant_id=tenant_id, actor=user_id, action=action, object=f"user:{user_id}", outcome=outcome,
            topic=TOPIC, detail=detail,
        ),
    )  # fmt: skip


def user_disabled() -> SomaError:
    """The refusal of somebody who was recognised and may not come in."""
    return SomaError(Code.USER_DISABLED, "This user is disabled. An administrator can enable them again.")


def _wrong() -> SomaError:
    return SomaError(Code.CREDENTIALS_INVALID, "Tenant, user, password or key is not right.")

"""Logging in with an OpenID Connect provider: out with a state, back with a code, and a token of ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import asyncpg
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from somagent.adapters.settings import Settings
from somagent.domain.capabilities import checked_capabilities
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject, Model
from somagent.domain.names import is_tenant_id, is_user_id
from somagent.services.audit.intake import Happening, take_in
from somagent.services.identity.login import Issued, Login, user_disabled
from somagent.services.identity.oidc_provider import Identity, Provider, is_safe
from somagent.services.identity.users import TOPIC

PATIENCE_SECONDS: Final = 600
"""How long somebody may take to log in."""
_SCOPE: Final = "openid profile email"
_KEY: Final = "soma:login:oidc:"

_FIND: Final = """
SELECT id, capabilities, disabled_at IS NOT NULL AS is_disabled FROM users
WHERE tenant_id = $1 AND oidc_issuer = $2 AND oidc_subject = $3 FOR SHARE
"""
_MAKE: Final = """
INSERT INTO users (tenant_id, id, display_name, email, capabilities, oidc_issuer, oidc_subject)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Begun:
    """A login on its way: where to send the browser, and what it must bring back as a cookie."""

    address: str
    state: str
    secure: bool


class _Pending(Model):
    nonce: str
    verifier: str


class OidcLogin:
    """The provider of this deployment, if it has one."""

    def __init__(self, settings: Settings, redis: Redis, login: Login) -> None:
        self._redis = redis
        self._login = login
        self._tenant = settings.oidc_tenant
        self._why_not = _why_not(settings)
        self._capabilities: tuple[str, ...] = () if self._why_not else _capabilities_from(settings)
        self._provider = Provider(
            settings.oidc_issuer,
            settings.oidc_client_id,
            settings.oidc_client_secret.get_secret_value(),
            settings.oidc_redirect_url,
        )

    async def close(self) -> None:
        """Close the connections to the provider."""
        await self._provider.close()

    async def begin(self) -> Begun:
        """Send somebody to the provider.

        Raises:
            SomaError: ``login_not_configured``; ``login_failed``; ``redis_unavailable``.
        """
        self._require_configured()
        discovery = await self._provider.discovery()
        state, nonce, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(64)
        pending = _Pending(nonce=nonce, verifier=verifier)
        try:
            await self._redis.set(_key(state), pending.model_dump_json(), ex=PATIENCE_SECONDS)
        except (RedisError, OSError) as error:
            raise _redis_away() from error
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code", "client_id": self._provider.client_id, "scope": _SCOPE, "state": state,
            "redirect_uri": self._provider.redirect_url, "nonce": nonce, "code_challenge": challenge,
            "code_challenge_method": "S256",
        }  # fmt: skip
        separator = "&" if "?" in discovery.authorization_endpoint else "?"
        address = f"{discovery.authorization_endpoint}{separator}{urlencode(query)}"
        return Begun(address, state, self._provider.redirect_url.startswith("https:"))

    async def finish(self, code: str | None, state: str, cookie: str | None) -> Issued:
        """Take somebody back who comes with a code; the state is used up by it.

        Args:
            cookie: what the browser that began has kept; a state from elsewhere logs nobody in.

        Raises:
            SomaError: ``login_not_configured``; ``login_failed`` or ``user_disabled`` (401); ``redis_unavailable``.
        """
        self._require_configured()
        if cookie is None or not hmac.compare_digest(cookie.encode(), state.encode()):
            raise _failed("this browser has not begun it")
        try:
            kept = await self._redis.getdel(_key(state))
        except (RedisError, OSError) as error:
            raise _redis_away() from error
        if kept is None:
            raise _failed("it took too long, or was finished before")
        if code is None:
            raise _failed("the provider has refused it")
        try:
            pending = _Pending.model_validate_json(kept)
        except ValidationError as error:
            raise _failed("it cannot be continued") from error
        identity = await self._provider.redeem(code, pending.verifier, pending.nonce)
        return await self._token_for(identity)

    async def _token_for(self, identity: Identity) -> Issued:
        async with self._login.database.connection(self._tenant) as connection, connection.transaction():
            row = await connection.fetchrow(_FIND, self._tenant, identity.iss, identity.sub)
            if row is None:
                await self._make_user(connection, identity)
                row = await connection.fetchrow(_FIND, self._tenant, identity.iss, identity.sub)
            if row is None:
                raise _failed("no user could be made for it")
            if row["is_disabled"]:
                raise user_disabled()
            return await self._login.token_for(connection, self._tenant, row["id"], tuple(row["capabilities"]), "oidc")

    async def _make_user(self, connection: asyncpg.Connection, identity: Identity) -> None:
        """A user of its own for who comes the first time: nobody takes over a user who is there by a name alone."""
        if not await connection.fetchval("SELECT true FROM tenants WHERE id = $1", self._tenant):
            raise SomaError(Code.LOGIN_NOT_CONFIGURED, "SOMAGENT_OIDC_TENANT names no tenant of this deployment.")
        email = identity.email if identity.email_verified else None
        for user_id in _ids_for(identity, email):
            made = await connection.fetchval(
                _MAKE, self._tenant, user_id, identity.name[:200], email, list(self._capabilities), identity.iss,
                identity.sub,
            )  # fmt: skip
            if made is None:
                continue
            detail: JsonObject = {"capabilities": list(self._capabilities), "oidc_issuer": identity.iss}
            happening = Happening(
                tenant_id=self._tenant, actor=user_id, action="user.created", object=f"user:{user_id}", topic=TOPIC,
                detail=detail,
            )  # fmt: skip
            await take_in(connection, happening)
            return

    def _require_configured(self) -> None:
        if self._why_not:
            raise SomaError(Code.LOGIN_NOT_CONFIGURED, self._why_not)


def _ids_for(identity: Identity, email: str | None) -> list[str]:
    """What the new user may be called, best first; the last one nobody else can have."""
    mark = hashlib.sha256(f"{identity.iss}\0{identity.sub}".encode()).hexdigest()[:16]
    named = (identity.preferred_username, email or "", identity.sub)
    wanted = [name for name in named if is_user_id(name) and "/" not in name and len(name) <= 200]
    return [*wanted[:1], *(f"{name}-{mark}" for name in wanted[:1]), f"oidc-{mark}"]


def _why_not(settings: Settings) -> str:
    needed = {
        "SOMAGENT_OIDC_ISSUER": settings.oidc_issuer,
        "SOMAGENT_OIDC_CLIENT_ID": settings.oidc_client_id,
        "SOMAGENT_OIDC_REDIRECT_URL": settings.oidc_redirect_url,
    }
    missing = [name for name, value in needed.items() if not value]
    if missing:
        return f"This deployment has no OpenID Connect login: the operator sets {', '.join(missing)}."
    for name in ("SOMAGENT_OIDC_ISSUER", "SOMAGENT_OIDC_REDIRECT_URL"):
        if not is_safe(needed[name]):
            return f"{name} must begin with https:// (http:// on this machine alone)."
    if not is_tenant_id(settings.oidc_tenant):
        return "SOMAGENT_OIDC_TENANT cannot be a tenant."
    try:
        _capabilities_from(settings)
    except SomaError as error:
        return f"SOMAGENT_OIDC_CAPABILITIES: {error.detail}"
    return ""


def _capabilities_from(settings: Settings) -> tuple[str, ...]:
    return checked_capabilities(name.strip() for name in settings.oidc_capabilities.split(",") if name.strip())


def _key(state: str) -> str:
    return _KEY + hashlib.sha256(state.encode()).hexdigest()


def _failed(why: str) -> SomaError:
    return SomaError(Code.LOGIN_FAILED, f"The login failed: {why}. Begin again at /v1/login/oidc.")


def _redis_away() -> SomaError:
    return SomaError(
        Code.REDIS_UNAVAILABLE, "Redis does not answer, and a login on its way is kept there. Try again shortly.",
        retry_after=2,
    )  # fmt: skip

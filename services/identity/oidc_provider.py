"""An OpenID Connect provider as we see it: its discovery document, its keys, its word on who somebody is.

OpenID Connect Core 1.0, the authorization code flow with PKCE (RFC 7636, S256).
"""

from __future__ import annotations

import time
from typing import Final
from urllib.parse import urlsplit

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import ConfigDict, Field, ValidationError

from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key pair only: with a shared secret whoever can check could also forge."""
_SECONDS: Final = 10.0
_REMEMBER_SECONDS: Final = 600.0
_NEW_KEYS_SECONDS: Final = 10.0
_LEEWAY_SECONDS: Final = 60


class Discovery(Model):
    """What of the provider's metadata is needed (OpenID Connect Discovery 1.0)."""

    model_config = ConfigDict(extra="ignore")

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: list[str] = Field(default_factory=lambda: ["client_secret_basic"])


class _TokenAnswer(Model):
    model_config = ConfigDict(extra="ignore")

    id_token: str = Field(max_length=65_536)


class Identity(Model):
    """What a verified ID token says."""

    model_config = ConfigDict(extra="ignore")

    iss: str
    sub: str = Field(min_length=1, max_length=255)
    aud: str | list[str]
    azp: str | None = None
    exp: int | float
    iat: int | float
    nonce: str
    name: str = ""
    preferred_username: str = ""
    email: str = ""
    email_verified: bool = False


class Provider:
    """One provider and our registration with it."""

    def __init__(self, issuer: str, client_id: str, client_secret: str, redirect_url: str) -> None:
        """``client_secret`` may be empty: a public client, held by PKCE alone."""
        self.issuer = issuer
        self.client_id = client_id
        self.redirect_url = redirect_url
        self._secret = client_secret
        self._http = httpx.AsyncClient(timeout=_SECONDS, follow_redirects=False)
        self._discovery: Discovery | None = None
        self._discovered_at = 0.0
        self._keys: KeySet | None = None
        self._keys_at = 0.0

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def discovery(self) -> Discovery:
        """The discovery document, remembered for ten minutes.

        Raises:
            SomaError: ``login_failed`` when the provider does not answer as one.
        """
        if self._discovery is None or time.monotonic() - self._discovered_at > _REMEMBER_SECONDS:
            answer = await self._get(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
            try:
                found = Discovery.model_validate_json(answer.content)
            except ValidationError as error:
                raise _failed("the provider's discovery document is not one") from error
            if found.issuer != self.issuer:
                raise _failed("the provider's discovery document names another issuer")
            for address in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
                if not is_safe(address):
                    raise _failed("the provider's discovery document names an address without TLS")
            self._discovery, self._discovered_at = found, time.monotonic()
        return self._discovery

    async def redeem(self, code: str, verifier: str, nonce: str) -> Identity:
        """Who has logged in: the code exchanged for an ID token, and that verified.

        Raises:
            SomaError: ``login_failed``.
        """
        discovery = await self.discovery()
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_url,
            "code_verifier": verifier,
        }  # fmt: skip
        basic = None
        if self._secret and "client_secret_basic" in discovery.token_endpoint_auth_methods_supported:
            basic = httpx.BasicAuth(self.client_id, self._secret)
        else:
            form["client_id"] = self.client_id
            if self._secret:
                form["client_secret"] = self._secret
        try:
            answer = await self._http.post(
                discovery.token_endpoint, data=form, auth=basic or httpx.USE_CLIENT_DEFAULT,
                headers={"Accept": "application/json"},
            )  # fmt: skip
        except httpx.HTTPError as error:
            raise _failed("the provider does not answer") from error
        if answer.status_code != httpx.codes.OK:
            raise _failed("the provider does not take the code")
        try:
            token = _TokenAnswer.model_validate_json(answer.content).id_token
        except ValidationError as error:
            raise _failed("the provider's answer has no ID token") from error
        return self._checked(await self._verified(token), nonce)

    async def _verified(self, token: str) -> Identity:
        """The ID token's claims, once its signature holds; with the keys fetched anew where it may need new ones."""
        for attempt in (1, 2):
            keys = await self._key_set(anew=attempt == 2)
            try:
                decoded = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
            except (JoseError, ValueError) as error:
                if attempt == 1 and time.monotonic() - self._keys_at > _NEW_KEYS_SECONDS:
                    continue
                raise _failed("the ID token's signature or form is wrong") from error
            try:
                return Identity.model_validate(decoded.claims)
            except ValidationError as error:
                raise _failed(f"the ID token's claim {error.errors()[0]['loc'][0]} is missing or malformed") from error
        raise _failed("the ID token's signature or form is wrong")

    def _checked(self, identity: Identity, nonce: str) -> Identity:
        """OpenID Connect Core 1.0, section 3.1.3.7."""
        audience = [identity.aud] if isinstance(identity.aud, str) else identity.aud
        now = time.time()
        faults = {
            "it is of another issuer": identity.iss != self.issuer,
            "it is for somebody else": self.client_id not in audience,
            "it was given to somebody else": (
                identity.azp != self.client_id if identity.azp is not None else len(audience) > 1
            ),
            "it has expired": identity.exp <= now - _LEEWAY_SECONDS,
            "it says that it was issued in the future": identity.iat > now + _LEEWAY_SECONDS,
            "it answers another login": identity.nonce != nonce,
        }
        for fault, is_so in faults.items():
            if is_so:
                raise _failed(f"the ID token is refused: {fault}")
        return identity

    async def _key_set(self, *, anew: bool) -> KeySet:
        if self._keys is None or anew or time.monotonic() - self._keys_at > _REMEMBER_SECONDS:
            answer = await self._get((await self.discovery()).jwks_uri)
            try:
                self._keys = KeySet.import_key_set(answer.json())
            except (JoseError, ValueError, KeyError, TypeError) as error:
                raise _failed("the provider's keys cannot be read") from error
            self._keys_at = time.monotonic()
        return self._keys

    async def _get(self, address: str) -> httpx.Response:
        try:
            answer = await self._http.get(address, headers={"Accept": "application/json"})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _failed("the provider does not answer") from error
        if answer.status_code != httpx.codes.OK:
            raise _failed(f"the provider answers {answer.status_code} at {urlsplit(address).path}")
        return answer


def is_safe(address: str) -> bool:
    """Whether nobody on the way can read or change what goes there: TLS, or this very machine."""
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost"))


def _failed(why: str) -> SomaError:
    return SomaError(Code.LOGIN_FAILED, f"The login failed: {why}. Begin again at /v1/login/oidc.")

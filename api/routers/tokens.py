"""Tokens: issued, verified, revoked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import Depends
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from somagent.api.deps import Caller, StateDep, Timestamp, json_response, soma_router
from somagent.api.security import AUTHENTICATED
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import Model
from somagent.services.identity import revocation
from somagent.services.identity.login import Credentials, Issued
from somagent.services.tokens import Claims

router = soma_router("identity")

Anyone = Annotated[Caller, Depends(AUTHENTICATED)]
GivenToken = Annotated[str, Field(min_length=1, max_length=8_192)]
_NO_STORE = {"Cache-Control": "no-store"}


class TokenView(Model):
    """A token just issued."""

    token: str
    expires_in: int = Field(description="Seconds")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the name of a scheme
    capabilities: list[str] = Field(description="What it allows")


class TokenQuestion(Model):
    """A token to be looked at."""

    token: GivenToken


class TokenVerdict(Model):
    """What a token says, or why it does not hold."""

    valid: bool
    active: bool = Field(description="The same as `valid`")
    reason: str | None = Field(default=None, description="A problem's code, where it does not hold")
    detail: str | None = None
    sub: str | None = None
    tenant_id: str | None = None
    capabilities: list[str] | None = None
    exp: int | None = Field(default=None, description="Seconds since the epoch")
    iat: int | None = None
    jti: str | None = None
    constitution_hash: str | None = Field(default=None, description="What was in force when it was issued")


class Revocation(Model):
    """A token that is refused everywhere from now on."""

    revoked: Literal[True] = True
    jti: str
    expires_at: Timestamp


@router.post("/v1/tokens/issue", responses={200: {"model": TokenView}})
async def issue(request: Request, body: Credentials, state: StateDep) -> Response:
    """A token for credentials; needs none itself. It holds for an hour.

    Five wrong tries lock the account for half a minute, each further one for twice as long. A name that there is not
    answers as a wrong password does.
    """
    return token_answer(await state.login.issue(body, address_of(request)))


@router.post("/tokens/issue", responses={200: {"model": TokenView}})
async def issue_too(request: Request, body: Credentials, state: StateDep) -> Response:
    """The same as `POST /v1/tokens/issue`."""
    return await issue(request, body, state)


@router.post("/v1/tokens/verify", response_model_exclude_none=True)
async def verify(body: TokenQuestion, state: StateDep, caller: Anyone) -> TokenVerdict:
    """Whether a token of the caller's tenant holds at this moment, and what it says."""
    try:
        subject = state.verifier.verify(body.token)
        if subject.tenant_id != caller.tenant_id:
            raise SomaError(Code.TENANT_MISMATCH, "The token is not of this tenant.")
        claims = state.verifier.claims(body.token)
    except SomaError as error:
        return TokenVerdict(valid=False, active=False, reason=error.code.value, detail=error.detail)
    return TokenVerdict(valid=True, active=True, **claims.model_dump())


@router.post("/v1/tokens/revoke")
async def revoke(body: TokenQuestion, state: StateDep, caller: Anyone) -> Revocation:
    """Refuse a token from now on, in every process within a second: one's own, or with `identity:admin` any.

    One that has expired or was revoked already is fine.
    """
    claims = _claims(state.verifier.claims, body.token)
    async with state.app_db.connection(caller.tenant_id) as connection, connection.transaction():
        await revocation.revoke(connection, caller, claims)
    await state.gate.watch.refresh()
    return Revocation(jti=claims.jti, expires_at=revocation.end_of(claims))


def token_answer(issued: Issued) -> Response:
    """A token as it goes out, to be kept by nothing on its way."""
    shown = TokenView(token=issued.token, expires_in=issued.expires_in, capabilities=list(issued.capabilities))
    answer = json_response(shown)
    answer.headers.update(_NO_STORE)
    return answer


def address_of(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client is not None else "unknown"


def _claims(read: Callable[[str], Claims], token: str) -> Claims:
    """A body's token is not what the caller shows who they are with, so a bad one is a fault of the body."""
    try:
        return read(token)
    except SomaError as error:
        raise SomaError(
            Code.VALIDATION_FAILED, error.detail, errors=[Fault("token", error.code.value, error.detail)]
        ) from error

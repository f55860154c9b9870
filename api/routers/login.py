"""Login with an OpenID Connect provider, for deployments that have one."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Cookie, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from somagent.api.deps import StateDep, soma_router
from somagent.api.routers.tokens import TokenView, address_of, token_answer
from somagent.services.identity.oidc import PATIENCE_SECONDS

router = soma_router("identity")

_COOKIE: Final = "soma_login"
_PATH: Final = "/v1/login/oidc"


@router.get(_PATH, status_code=302, response_class=RedirectResponse)
async def begin(request: Request, state: StateDep) -> Response:
    """Send the browser to the provider. It comes back to `/v1/login/oidc/callback` within ten minutes."""
    await state.login.limits.check(address_of(request))
    begun = await state.oidc.begin()
    answer = RedirectResponse(begun.address, status_code=302, headers={"Cache-Control": "no-store"})
    answer.set_cookie(
        _COOKIE, begun.state, max_age=PATIENCE_SECONDS, path=_PATH, secure=begun.secure, httponly=True, samesite="lax"
    )
    return answer


@router.get(f"{_PATH}/callback", responses={200: {"model": TokenView}})
async def finish(
    request: Request,
    back: StateDep,
    state: Annotated[str, Query(min_length=1, max_length=200)],
    code: Annotated[str | None, Query(max_length=4_096)] = None,
    error: Annotated[str | None, Query(max_length=200, description="The provider's refusal")] = None,
    soma_login: Annotated[str | None, Cookie(max_length=200)] = None,
) -> Response:
    """A token for whom the provider vouches for. Who comes the first time becomes a user.

    They hold what SOMAGENT_OIDC_CAPABILITIES says, until an administrator changes it.
    """
    await back.login.limits.check(address_of(request))
    answer = token_answer(await back.oidc.finish(None if error else code, state, soma_login))
    answer.delete_cookie(_COOKIE, path=_PATH)
    return answer

"""Who may do what: the bearer token of a request, and the capability that its endpoint asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase
from starlette.requests import Request

from somagent.api.state import State
from somagent.domain.caller import Caller
from somagent.domain.capabilities import Capability, capability_missing, holds
from somagent.domain.errors import Code, SomaError
from somagent.domain.names import is_tenant_id

_AUTHORIZATION: Final = b"authorization"
_TENANT: Final = b"x-tenant-id"


class Requires(SecurityBase):
    """A dependency that gives the caller, who holds ``capability``; one plain call a request.

    Without a capability any valid token will do.
    """

    def __init__(self, capability: Capability | None) -> None:
        self.capability = capability
        self.scheme_name = "bearer"
        self.model = HTTPBearerModel(
            bearerFormat="JWT", description="A token of `POST /v1/tokens/issue`, or of `somagent tokens issue`."
        )

    async def __call__(self, request: Request) -> Caller:
        """Verify the token, the tenant and the capability.

        Raises:
            SomaError: ``token_*`` (401), ``tenant_mismatch`` or ``capability_missing`` (403).
        """
        authorization = tenant = b""
        for name, value in request.scope["headers"]:
            if name == _AUTHORIZATION:
                authorization = value
            elif name == _TENANT:
                tenant = value
        state: State = request.scope["state"]["soma"]
        caller = state.verifier.verify(_bearer(authorization))
        if tenant:
            caller = await acting_for(state, caller, tenant.decode("latin-1"))
        if self.capability is not None and not holds(caller, self.capability):
            raise capability_missing(self.capability)
        return caller


def requires(capability: str) -> Requires:
    """``Annotated[Caller, Depends(requires("job:read"))]``; a misspelt capability fails at import."""
    return Requires(Capability(capability))


AUTHENTICATED: Final = Requires(None)
"""``Annotated[Caller, Depends(AUTHENTICATED)]``: whoever has a valid token; the endpoint says what else counts."""


def _bearer(authorization: bytes) -> str:
    scheme, _, token = authorization.partition(b" ")
    token = token.strip()
    if scheme.lower() != b"bearer" or not token:
        raise SomaError(
            Code.TOKEN_MISSING, "This needs a token. Send the header Authorization: Bearer and the token after it."
        )
    return token.decode("latin-1")


async def acting_for(state: State, caller: Caller, tenant: str, named_by: str = "X-Tenant-ID") -> Caller:
    """The caller as one who acts for ``tenant``, which the request names.

    Raises:
        SomaError: ``tenant_mismatch`` without ``tenant:any``; ``not_found`` where there is no such tenant.
    """
    if tenant == caller.tenant_id:
        return caller
    if not holds(caller, Capability.TENANT_ANY):
        raise SomaError(
            Code.TENANT_MISMATCH, f"{named_by} is not the token's tenant. Leave it out, or use that tenant's token."
        )
    if not is_tenant_id(tenant) or not await state.tenant_exists(tenant):
        raise SomaError(Code.NOT_FOUND, f"{named_by} names no tenant.")
    return replace(caller, tenant_id=tenant, visiting=True)

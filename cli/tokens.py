"""``somagent tokens``: an operator's tokens, signed with the data dir's own key."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import App, Parameter, validators

from somagent.adapters.keys import KeyRing
from somagent.cli.operators import DataDir, keys_of, layout_of, system_connection, system_database, system_url
from somagent.cli.output import complain, say
from somagent.domain.capabilities import EVERYTHING, checked_capabilities
from somagent.domain.errors import SomaError
from somagent.domain.names import checked_tenant_id, checked_user_id
from somagent.domain.policy.constitution import DEFAULT_HASH
from somagent.services.tokens import OPERATOR_TTL_SECONDS, mint

_BOTH = "SELECT true FROM users u JOIN tenants t ON t.id = u.tenant_id WHERE u.tenant_id = $1 AND u.id = $2"
_IN_FORCE = "SELECT hash FROM constitutions WHERE tenant_id IN ($1, '') ORDER BY tenant_id DESC, version DESC LIMIT 1"
_YEAR = 365 * 86_400

app = App(name="tokens", help="Issue access tokens with the data dir's own key.", result_action="return_value")


@app.command
def issue(
    *,
    tenant: Annotated[str, Parameter(help="The tenant; made with the shipped capsules when it is new.")],
    user: Annotated[str, Parameter(help="The user that the token speaks for; made when missing.")],
    capability: Annotated[
        list[str] | None,
        Parameter(
            help="What the token allows; repeat it. Without it: everything but tenant:any, "
            "moderation:bypass and kill:global.",
            negative="",
        ),
    ] = None,
    ttl: Annotated[
        int, Parameter(help="Seconds until it ends.", validator=validators.Number(gte=1, lte=_YEAR))
    ] = OPERATOR_TTL_SECONDS,
    data_dir: DataDir = None,
) -> int:
    """Print a token, alone on the last line."""
    try:
        checked_tenant_id(tenant)
        checked_user_id(user)
        capabilities = checked_capabilities(capability or [EVERYTHING])
    except SomaError as error:
        complain(error.detail)
        return 2
    layout = layout_of(data_dir)
    in_force = asyncio.run(_ensure(system_url(layout), tenant, user))
    say(mint(KeyRing(keys_of(layout)), tenant, user, capabilities, ttl=ttl, constitution_hash=in_force))
    return 0


async def _ensure(url: str, tenant: str, user: str) -> str:
    """Make tenant and user where they are missing; answers the hash of the constitution in force for them.

    Where both are there, this costs one connection.

    Raises:
        SomaError: ``database_unavailable``.
    """
    async with system_connection(url) as connection:
        in_force = await connection.fetchval(_IN_FORCE, tenant, timeout=5) or DEFAULT_HASH
        if await connection.fetchval(_BOTH, tenant, user, timeout=5):
            return str(in_force)
    from somagent.adapters.settings import load_settings  # half a second of imports, for newcomers only
    from somagent.services.tenants import ensure_tenant, ensure_user

    async with system_database(url) as database:
        await ensure_tenant(database, tenant, load_settings().capsules_dir)
        await ensure_user(database, tenant, user)
    return str(in_force)

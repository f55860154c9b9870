"""``somagent users``: what only the operator of the machine can do for somebody who cannot log in."""

from __future__ import annotations

import asyncio
from typing import Annotated

from cyclopts import App, Parameter

from somagent.cli.operators import DataDir, layout_of, system_database, system_url
from somagent.cli.output import complain, say
from somagent.deploy.local.administrator import renew_kept_password
from somagent.domain.errors import Code, SomaError
from somagent.domain.names import checked_tenant_id, checked_user_id

app = App(name="users", help="Let somebody in again who has lost their password.", result_action="return_value")


@app.command(name="reset-password")
def reset_password(
    *,
    tenant: Annotated[str, Parameter(help="The user's tenant.")] = "default",
    user: Annotated[str, Parameter(help="Who has lost the password.")] = "admin",
    without_mfa: Annotated[bool, Parameter(negative=(), help="Take the second factor away too.")] = False,
    data_dir: DataDir = None,
) -> int:
    """Give a user a new random password, printed alone on the last line. Their tokens and any lock end."""
    try:
        checked_tenant_id(tenant)
        checked_user_id(user)
    except SomaError as error:
        complain(error.detail)
        return 2
    layout = layout_of(data_dir)
    try:
        password = asyncio.run(_reset(system_url(layout), tenant, user, without_mfa=without_mfa))
    except SomaError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        complain(f"{error.detail} Make one with POST /v1/users, or `somagent tokens issue` to begin with.")
        return 1
    renew_kept_password(layout, tenant, user, password)
    say(f"The new password of {user}, shown this once:")
    say(password)
    return 0


async def _reset(url: str, tenant: str, user: str, *, without_mfa: bool) -> str:
    from somagent.services.identity.administrators import reset_password as reset  # argon2, for this command only

    async with system_database(url) as database:
        return await reset(database, tenant, user, without_mfa=without_mfa)

"""``somagent tokens``: an operator's tokens, signed with the data dir's own key."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated

import asyncpg
from cyclopts import App, Parameter, validators

from somagent.adapters.keys import KeyRing
from somagent.cli.output import complain, say
from somagent.deploy.local.layout import Layout, default_data_dir
from somagent.deploy.local.state import running_state
from somagent.domain.capabilities import EVERYTHING, checked_capabilities
from somagent.domain.errors import Code, SomaError
from somagent.domain.names import checked_tenant_id, checked_user_id
from somagent.services.tokens import OPERATOR_TTL_SECONDS, mint

_SYSTEM_URL = "SOMAGENT_POSTGRES_SYSTEM_URL"
_KEYS_DIR = "SOMAGENT_KEYS_DIR"
_BOTH = "SELECT true FROM users u JOIN tenants t ON t.id = u.tenant_id WHERE u.tenant_id = $1 AND u.id = $2"
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
    data_dir: Annotated[Path | None, Parameter(help="The stack's folder.")] = None,
) -> int:
    """Print a token, alone on the last line."""
    try:
        checked_tenant_id(tenant)
        checked_user_id(user)
        capabilities = checked_capabilities(capability or [EVERYTHING])
    except SomaError as error:
        complain(error.detail)
        return 2
    layout = Layout.of(data_dir or default_data_dir())
    asyncio.run(_ensure(_system_url(layout), tenant, user))
    say(mint(KeyRing(_keys(layout)), tenant, user, capabilities, ttl=ttl))
    return 0


def _keys(layout: Layout) -> Path:
    """Where the deployment's keys lie: the environment's folder, else the data dir's."""
    given = os.environ.get(_KEYS_DIR)
    return Path(given) if given else layout.keys


def _system_url(layout: Layout) -> str:
    """The environment's address, else the running stack's.

    Raises:
        SomaError: ``stack_not_running``.
    """
    given = os.environ.get(_SYSTEM_URL)
    if given:
        return given
    url = running_state(layout).environment.get(_SYSTEM_URL)
    if not url:
        raise SomaError(Code.STACK_NOT_RUNNING, f"The stack in {layout.root} is still starting. Try again shortly.")
    return url


async def _ensure(system_url: str, tenant: str, user: str) -> None:
    """Make tenant and user where they are missing. Where both are there, this costs one question.

    Raises:
        SomaError: ``database_unavailable``.
    """
    if await _are_there(system_url, tenant, user):
        return
    from somagent.adapters.postgres.database import Database  # half a second of imports, for newcomers only
    from somagent.adapters.settings import load_settings
    from somagent.services.tenants import ensure_tenant, ensure_user

    database = await Database.open(system_url, pool_size=1)
    try:
        await ensure_tenant(database, tenant, load_settings().capsules_dir)
        await ensure_user(database, tenant, user)
    finally:
        await database.close()


async def _are_there(system_url: str, tenant: str, user: str) -> bool:
    try:
        connection = await asyncpg.connect(system_url, timeout=5)
        try:
            return bool(await connection.fetchval(_BOTH, tenant, user, timeout=5))
        finally:
            await connection.close(timeout=1)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise SomaError(
            Code.DATABASE_UNAVAILABLE,
            f"Postgres does not answer as it should ({type(error).__name__}). Is the stack up? See `somagent status`.",
        ) from error

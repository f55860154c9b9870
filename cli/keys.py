"""``somagent keys``: the keys that sign tokens, audit chains and the deployment's constitution."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import App, Parameter

from somagent.adapters.keys import LOOK_SECONDS, KeyRing
from somagent.cli.operators import DataDir, existing_keys_of, layout_of, system_connection, system_url
from somagent.cli.output import OutputFormat, complain, say, show_json, show_table
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model
from somagent.domain.times import Timestamp, rfc3339

T = TypeVar("T")

app = App(name="keys", help="Show, renew and retire the deployment's signing keys.", result_action="return_value")


class KeyRow(Model):
    """A signing key."""

    kid: str
    made_at: Timestamp
    signs: bool


class KeysDocument(Model):
    """What ``keys list --output json`` prints."""

    keys: list[KeyRow]


@app.command(name="list")
def list_keys(*, data_dir: DataDir = None, output: OutputFormat = "table") -> int:
    """Show every signing key, newest first: the first one signs, all of them verify."""
    ages = KeyRing(existing_keys_of(layout_of(data_dir))).ages()
    rows = [KeyRow(kid=kid, made_at=made_at, signs=place == 0) for place, (kid, made_at) in enumerate(ages)]
    if output == "json":
        show_json(KeysDocument(keys=rows))
    else:
        cells = [[row.kid, rfc3339(row.made_at), "signs" if row.signs else "verifies"] for row in rows]
        show_table("Signing keys", ["id", "made", "use"], cells)
    return 0


@app.command
def rotate(*, data_dir: DataDir = None) -> int:
    """Make a new key, which signs from now on; every process notices within a second. Prints its id."""
    layout = layout_of(data_dir)
    keys = existing_keys_of(layout)
    kid = _writing(keys, lambda ring: ring.rotate())
    try:
        url = system_url(layout)
        time.sleep(LOOK_SECONDS + 0.5)  # whoever seals the audit of this is to sign with the new key already
        asyncio.run(_tell(url, "key.rotated", kid))
    except SomaError as error:
        if error.code not in (Code.STACK_NOT_RUNNING, Code.DATABASE_UNAVAILABLE):
            raise
        complain("No database was reached, so no audit chain tells of this.")
    say(kid)
    return 0


@app.command
def retire(
    kid: Annotated[str, Parameter(help="The key's id.")],
    /,
    *,
    sign_again: Annotated[
        bool, Parameter(negative=(), help="First put the deployment's constitution in force as a new version, "
                                          "signed with the newest key.")
    ] = False,
    data_dir: DataDir = None,
) -> int:  # fmt: skip
    """Take an old key away for good: tokens that it signed are refused. Not while something in force leans on it."""
    layout = layout_of(data_dir)
    keys = existing_keys_of(layout)
    known = [known for known, _ in KeyRing(keys).ages()]
    if kid not in known:
        complain(f"There is no key {kid}. There are: {', '.join(known)}.")
        return 2
    if kid == known[0]:
        complain(f"The key {kid} signs. Make a new one first: somagent keys rotate.")
        return 2
    asyncio.run(_release(system_url(layout), keys, kid, sign_again=sign_again))
    say(f"{kid} is retired.")
    return 0


async def _release(url: str, keys: Path, kid: str, *, sign_again: bool) -> None:
    from somagent.services.identity import rotation  # the constitution's code, for this command only

    async with system_connection(url) as connection:
        if sign_again:
            version = await rotation.sign_again(connection, KeyRing(keys))
            say(f"The deployment's constitution is in force as version {version}.")
        await rotation.require_unused(connection, kid)
        _writing(keys, lambda ring: ring.retire(kid))
        await rotation.tell_everybody(connection, "key.retired", kid)


async def _tell(url: str, action: str, kid: str) -> None:
    from somagent.services.identity import rotation

    async with system_connection(url) as connection:
        await rotation.tell_everybody(connection, action, kid)


def _writing(keys: Path, act: Callable[[KeyRing], T]) -> T:
    """Change the folder.

    Raises:
        SomaError: ``part_failed`` where it cannot be written, such as a mounted secret.
    """
    try:
        return act(KeyRing(keys))
    except OSError as error:
        raise SomaError(
            Code.PART_FAILED,
            f"{keys} cannot be changed: {error.strerror}. Where the keys are a mounted secret, change that: one PEM "
            "file with an Ed25519 private key (PKCS 8) each, and names that sort by age.",
        ) from error

"""``somagent audit``: checking an export of the audit chain, offline."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import orjson
from cyclopts import App, Parameter

from somagent.cli.output import complain, say
from somagent.domain.audit.chain import read_json
from somagent.domain.audit.verification import Verification, verify_export
from somagent.domain.errors import SomaError
from somagent.domain.signatures import load_public_key, thumbprint

_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_DONE, _FAILED, _WRONG_USE = 0, 1, 2

app = App(name="audit", help="Check exports of the audit chain, offline.", result_action="return_value")


@app.command
def verify(
    file: Annotated[Path, Parameter(help="What GET /v1/audit/export answered; however it is indented.")],
    *,
    key: Annotated[
        list[str] | None,
        Parameter(
            help="The key that must have signed: a file (PEM, JWK or JWKS) or a key's id; repeat it for more. "
            "Without it the keys in the file are used, which show that it is whole, not who made it.",
            negative="",
        ),
    ] = None,
) -> int:
    """Find any entry that was changed, dropped, moved or cut off: 0 the chain is whole, 1 it is not, 2 wrong use."""
    try:
        content = file.read_bytes()
        trusted = None if key is None else frozenset(kid for given in key for kid in _key_ids(given))
    except OSError as error:
        complain(f"{error.filename} cannot be read: {error.strerror}.")
        return _WRONG_USE
    except (SomaError, ValueError) as error:
        complain(error.detail if isinstance(error, SomaError) else str(error))
        return _WRONG_USE
    try:
        document = read_json(content)
    except (ValueError, RecursionError) as error:
        complain(f"{file} is not a whole JSON document: {error}.")
        return _FAILED
    return _report(verify_export(document, trusted), pinned=trusted is not None)


def _report(result: Verification, *, pinned: bool) -> int:
    if not result.whole:
        complain(f"not whole: {result.faults[0]}")
        for fault in result.faults[1:]:
            complain(f"also: {fault}")
        return _FAILED
    part = "" if result.first_seq == 1 else f" from {result.first_seq} on"
    say(
        f"{result.tenant_id}: {result.entries} entries{part}, head {result.head_seq} {result.head_hash} "
        f"signed by {result.kid}: whole"
    )
    if not pinned:
        say("The signer is the one that the file names. Give --key to make sure of it.")
    return _DONE


def _key_ids(given: str) -> list[str]:
    """The ids of the keys in a file, or the id itself.

    Raises:
        SomaError: ``validation_failed``, for a file that holds no Ed25519 public key.
        ValueError: neither a file nor a key's id.
        OSError: the file cannot be read.
    """
    path = Path(given)
    if not path.is_file():
        if _KEY_ID.fullmatch(given):
            return [given]
        raise ValueError(f"{given} is neither a file nor the id of a key.")
    text = path.read_text(errors="replace").strip()
    return [thumbprint(load_public_key(one)) for one in _keys_in(text)]


def _keys_in(text: str) -> list[str]:
    """Each key of a JWKS as JWK, or the text itself."""
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return [text]
    if isinstance(parsed, dict) and isinstance(parsed.get("keys"), list):
        return [orjson.dumps(one).decode() for one in parsed["keys"]]
    return [text]

"""What a stack remembers from one ``up`` to the next: ports, shares and passwords."""

from __future__ import annotations

import json
import re
import secrets
from pathlib import Path

from pydantic import Field, ValidationError

from somagent.deploy.local.files import write_private
from somagent.deploy.local.layout import Layout
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import Model

_SHARE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Options(Model):
    """Ports by name of the part, and the folders that jobs may read."""

    ports: dict[str, int] = Field(default_factory=dict)
    shares: dict[str, str] = Field(default_factory=dict)

    def shares_as_json(self) -> str:
        """The value of SOMAGENT_SHARES."""
        return json.dumps(self.shares, sort_keys=True)


class Passwords(Model):
    """Passwords of the parts that the stack starts itself, and of the roles that migrations make."""

    postgres_owner: str = Field(default_factory=lambda: secrets.token_hex(24))
    postgres_app: str = Field(default_factory=lambda: secrets.token_hex(24))
    postgres_system: str = Field(default_factory=lambda: secrets.token_hex(24))
    redis: str = Field(default_factory=lambda: secrets.token_hex(24))


def load_options(layout: Layout) -> Options:
    """The remembered options, or none yet."""
    if not layout.options_file.exists():
        return Options()
    return Options.model_validate_json(_readable(layout.options_file))


def save_options(layout: Layout, options: Options) -> None:
    """Remembers the options for the next ``up``."""
    write_private(layout.options_file, options.model_dump_json(indent=2))


def load_passwords(layout: Layout) -> Passwords:
    """The stack's passwords, made at the first call and kept with mode 0600.

    Raises:
        SomaError: ``part_failed`` when the file is damaged: making new passwords would lock the data away.
    """
    if not layout.secrets_file.exists():
        write_private(layout.secrets_file, Passwords().model_dump_json(indent=2))
    try:
        return Passwords.model_validate_json(_readable(layout.secrets_file))
    except ValidationError as error:
        raise SomaError(
            Code.PART_FAILED,
            f"{layout.secrets_file} is damaged, and with it the passwords of this stack's data. "
            "Put it back from a backup, or start with another --data-dir.",
        ) from error


def parse_shares(pairs: list[str]) -> dict[str, str]:
    """``NAME=FOLDER`` pairs as names with absolute folders.

    Raises:
        SomaError: ``input_invalid`` for a pair without a sound name or an existing folder.
    """
    shares: dict[str, str] = {}
    for pair in pairs:
        name, separator, folder = pair.partition("=")
        path = Path(folder).expanduser()
        if not separator or not _SHARE_NAME.fullmatch(name):
            raise SomaError(
                Code.INPUT_INVALID,
                f"--share {pair}: write NAME=FOLDER, the name from letters, digits, dot, underscore and dash.",
            )
        if not path.is_dir():
            raise SomaError(Code.INPUT_INVALID, f"--share {pair}: there is no folder {path.absolute()}.")
        shares[name] = str(path.resolve())
    return shares


def _readable(path: Path) -> str:
    return path.read_text(encoding="utf-8")

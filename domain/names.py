"""Names that people give and that the product keeps as they are: of tenants and users."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import StringConstraints

from somagent.domain.errors import Code, SomaError

TENANT_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""A tenant's id is also the name of its folders, hence no separators and no leading dot."""
USER_PATTERN: Final = r"^[^\x00-\x20\x7f](?:[^\x00-\x1f\x7f]{0,253}[^\x00-\x20\x7f])?$"
"""A user's id is whatever an identity provider calls a person: printable, up to 255 characters."""

FIRST_TENANT: Final = "default"
FIRST_USER: Final = "admin"
"""The first administrator of a deployment, and the tenant they belong to."""

TenantId = Annotated[str, StringConstraints(pattern=TENANT_PATTERN)]
UserId = Annotated[str, StringConstraints(pattern=USER_PATTERN)]

_TENANT: Final = re.compile(TENANT_PATTERN.removesuffix("$") + r"\Z")
_USER: Final = re.compile(USER_PATTERN.removesuffix("$") + r"\Z")


def is_tenant_id(text: str) -> bool:
    """Whether ``text`` can be a tenant's id."""
    return _TENANT.match(text) is not None


def is_user_id(text: str) -> bool:
    """Whether ``text`` can be a user's id."""
    return _USER.match(text) is not None


def checked_tenant_id(text: str) -> str:
    """The id itself.

    Raises:
        SomaError: ``validation_failed``.
    """
    if not is_tenant_id(text):
        raise SomaError(
            Code.VALIDATION_FAILED,
            f"{text!r} cannot be a tenant: write 1 to 64 letters, digits, dots, underscores and dashes, "
            "beginning with a letter or digit.",
        )
    return text


def checked_user_id(text: str) -> str:
    """The id itself.

    Raises:
        SomaError: ``validation_failed``.
    """
    if not is_user_id(text):
        raise SomaError(
            Code.VALIDATION_FAILED, f"{text!r} cannot be a user: write 1 to 255 printable characters without a margin."
        )
    return text

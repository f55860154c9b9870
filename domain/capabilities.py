"""What a token may allow: a closed list."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Final

from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError

EVERYTHING: Final = "*"
"""Holds every capability but those of :data:`NAMED_ONLY`."""


class Capability(StrEnum):
    """Every capability there is."""

    CAPSULE_READ = "capsule:read"
    CAPSULE_SUBMIT = "capsule:submit"
    CAPSULE_REVIEW = "capsule:review"
    CAPSULE_OVERRIDE = "capsule:override"
    CAPSULE_INSTALL = "capsule:install"
    JOB_READ = "job:read"
    JOB_SUBMIT = "job:submit"
    JOB_CONTROL = "job:control"
    APPROVAL_DECIDE = "approval:decide"
    KAMACHIQ_RUN = "kamachiq:run"
    KAMACHIQ_READ = "kamachiq:read"
    SESSION_START = "session:start"
    MEMORY_READ = "memory:read"
    MEMORY_WRITE = "memory:write"
    SLM_INVOKE = "slm:invoke"
    TOOL_INVOKE = "tool:invoke"
    TOOL_CONFIGURE = "tool:configure"
    POLICY_READ = "policy:read"
    POLICY_WRITE = "policy:write"
    CONSTITUTION_PROPOSE = "constitution:propose"
    CONSTITUTION_APPROVE = "constitution:approve"
    SETTINGS_READ = "settings:read"
    SETTINGS_WRITE = "settings:write"
    IDENTITY_ADMIN = "identity:admin"
    MODERATION_REVIEW = "moderation:review"
    MODERATION_BYPASS = "moderation:bypass"
    KILL_TENANT = "kill:tenant"
    KILL_GLOBAL = "kill:global"
    AUDIT_READ = "audit:read"
    TRAINING_MANAGE = "training:manage"
    ANALYTICS_READ = "analytics:read"
    NOTIFICATION_SEND = "notification:send"
    TENANT_ANY = "tenant:any"


NAMED_ONLY: Final = frozenset({Capability.TENANT_ANY, Capability.MODERATION_BYPASS, Capability.KILL_GLOBAL})
"""What ``*`` does not hold: it must be named."""


_NAMES: Final = frozenset({EVERYTHING, *(capability.value for capability in Capability)})


def holds(caller: Caller, capability: Capability | str) -> bool:
    """Whether the caller's token allows ``capability``."""
    return covers(caller.capabilities, capability)


def covers(held: Collection[str], capability: Capability | str) -> bool:
    """Whether who holds ``held`` holds ``capability``, which may be ``*`` too."""
    return capability in held or (EVERYTHING in held and capability not in NAMED_ONLY)


def require_owned(held: Collection[str], wanted: Iterable[str], whose: str) -> None:
    """Insist that nobody gives or takes more than there is.

    Args:
        whose: in words, who holds ``held``: "the user", "you".

    Raises:
        SomaError: ``capability_not_owned``, naming what is not held.
    """
    missing = [name for name in wanted if not covers(held, name)]
    if missing:
        raise SomaError(
            Code.CAPABILITY_NOT_OWNED,
            f"Not held by {whose}: {', '.join(missing)}. Leave it out, or have somebody who holds it grant it.",
        )


def require(caller: Caller, capability: Capability | str) -> None:
    """Insist on a capability that only some requests to an endpoint need.

    Raises:
        SomaError: ``capability_missing``.
    """
    if not holds(caller, capability):
        raise capability_missing(capability)


def capability_missing(capability: Capability | str) -> SomaError:
    """The refusal that names what is missing."""
    return SomaError(
        Code.CAPABILITY_MISSING,
        f"This needs the capability {capability}, which the token does not hold. Ask for a token that does.",
    )


def checked_capabilities(names: Iterable[str]) -> tuple[str, ...]:
    """The names in order without repetitions.

    Raises:
        SomaError: ``validation_failed`` for a name that is no capability, with the list of those there are.
    """
    wanted = tuple(dict.fromkeys(names))
    unknown = [name for name in wanted if name not in _NAMES]
    if unknown:
        raise SomaError(
            Code.VALIDATION_FAILED,
            f"There is no capability {', '.join(unknown)}. There are: {EVERYTHING}, {', '.join(Capability)}.",
        )
    return wanted

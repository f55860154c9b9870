"""Residency: where a tenant's and a capsule's data may be worked on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from somagent.domain.errors import Code, SomaError


@dataclass(frozen=True, slots=True)
class Restriction:
    """Regions that somebody allows; none given is no restriction."""

    who: str
    regions: tuple[str, ...]


def restriction(who: str, setting: object) -> Restriction:
    """What a setting says: a list of regions, one region, or nothing.

    A setting that is neither cannot be understood, so it allows no region at all.
    """
    if setting is None or setting == "" or setting == []:
        return Restriction(who, ())
    if isinstance(setting, str):
        return Restriction(who, (setting,))
    if isinstance(setting, Sequence) and all(isinstance(one, str) for one in setting):
        return Restriction(who, tuple(setting))
    return Restriction(who, ("a setting that is no list of regions",))


def require_residency(region: str, restrictions: Iterable[Restriction]) -> None:
    """Insist that this deployment lies where everybody who restricts allows it.

    A deployment that does not say where it is lies in no allowed region.

    Args:
        region: of the deployment, as the operator set it; empty where it is not set.

    Raises:
        SomaError: ``residency_refused``.
    """
    here = region.strip().casefold()
    for one in restrictions:
        if one.regions and here not in {allowed.strip().casefold() for allowed in one.regions}:
            where = f"in {region}" if region else "in no region that its operator has named (SOMAGENT_REGION)"
            raise SomaError(
                Code.RESIDENCY_REFUSED,
                f"{one.who} allows {', '.join(one.regions)} only, and this deployment is {where}. Ask a deployment "
                "there, or change the setting.",
            )

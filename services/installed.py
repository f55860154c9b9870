"""The installed capsule behind a job: one statement, and no parsing of a definition that was parsed before."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import asyncpg
import orjson

from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.capsules.plan import JobPlan
from somagent.domain.capsules.planning import build_plan
from somagent.domain.versions import matches
from somagent.services.capsules.attestation import check_hash, restored

_KEPT = 512

_FIND = """
SELECT i.id, i.version, i.status, coalesce(b.budget_tokens, t.daily_tokens) AS budget_tokens
FROM installations i
JOIN tenants t ON t.id = i.tenant_id
LEFT JOIN capsule_budgets b
  ON b.tenant_id = i.tenant_id AND b.capsule_id = i.capsule_id AND b.environment = i.environment
WHERE i.capsule_id = $1 AND i.environment = $2 AND i.status IN ('installed', 'quarantined')
"""
_DEFINITION = "SELECT definition::text AS definition, attestation_hash FROM installations WHERE id = $1"


@dataclass(frozen=True, slots=True)
class InstalledCapsule:
    """A capsule as it was installed.

    Attributes:
        status: ``installed``, or ``quarantined`` after a recall: then nothing new may start.
        budget_tokens: what one run may spend, in tokens.
    """

    installation_id: UUID
    capsule_id: str
    version: str
    status: str
    definition: CapsuleDefinition
    plan: JobPlan
    budget_tokens: int


@dataclass(frozen=True, slots=True)
class FrozenCapsule:
    """What an installation froze: it never changes, so it is kept in memory under the installation's id."""

    definition: CapsuleDefinition
    plan: JobPlan


class _Kept:
    """The definitions used most recently."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._by_id: dict[UUID, FrozenCapsule] = {}

    def get(self, installation_id: UUID) -> FrozenCapsule | None:
        found = self._by_id.pop(installation_id, None)
        if found is not None:
            self._by_id[installation_id] = found
        return found

    def put(self, installation_id: UUID, frozen: FrozenCapsule) -> None:
        self._by_id[installation_id] = frozen
        if len(self._by_id) > self._size:
            del self._by_id[next(iter(self._by_id))]


_kept = _Kept(_KEPT)
_current: dict[tuple[str, str, str | None, str], InstalledCapsule] = {}


async def current_capsule(
    connection: asyncpg.Connection, tenant_id: str, capsule_id: str, version: str | None, environment: str
) -> tuple[InstalledCapsule | None, bool]:
    """The installed capsule, from memory where it was asked for before; the flag says that it was.

    What is remembered may have been replaced or recalled since: whoever uses it has to check the installation's status
    in the statement that uses it, and to :func:`forget_current` and ask again when it has changed.
    """
    place = (tenant_id, capsule_id, version, environment)
    known = _current.get(place)
    if known is not None:
        return known, True
    found = await installed_capsule(connection, capsule_id, version, environment)
    if found is not None and found.status == "installed":
        if len(_current) >= _KEPT:
            _current.clear()
        _current[place] = found
    return found, False


def forget_current(tenant_id: str, capsule_id: str, version: str | None, environment: str) -> None:
    """What was remembered of this capsule is no longer so."""
    _current.pop((tenant_id, capsule_id, version, environment), None)


async def installed_capsule(
    connection: asyncpg.Connection, capsule_id: str, version: str | None, environment: str
) -> InstalledCapsule | None:
    """The capsule that the connection's tenant has installed in ``environment``.

    Args:
        connection: bound to the tenant.
        version: an exact version or a range; None takes whichever is installed.

    Returns:
        None when nothing is installed, or another version than the one asked for.
    """
    row = await connection.fetchrow(_FIND, capsule_id, environment)
    if row is None or (version is not None and not _fits(row["version"], version)):
        return None
    frozen = _kept.get(row["id"]) or await frozen_capsule(connection, row["id"])
    if frozen is None:
        return None
    return InstalledCapsule(
        installation_id=row["id"],
        capsule_id=capsule_id,
        version=row["version"],
        status=row["status"],
        definition=frozen.definition,
        plan=frozen.plan,
        budget_tokens=row["budget_tokens"],
    )


async def frozen_capsule(connection: asyncpg.Connection, installation_id: UUID) -> FrozenCapsule | None:
    """What installation ``installation_id`` of the connection's tenant froze, whatever its status now.

    Raises:
        SomaError: ``attestation_mismatch``, when the row is not what was reviewed and installed.
    """
    found = _kept.get(installation_id)
    if found is None:
        row = await connection.fetchrow(_DEFINITION, installation_id)
        if row is None:
            return None
        document = orjson.loads(row["definition"])
        check_hash(restored(document), row["attestation_hash"])
        definition = CapsuleDefinition.model_validate(document)
        found = FrozenCapsule(definition, build_plan(definition))
        _kept.put(installation_id, found)
    return found


@lru_cache(maxsize=4096)
def _fits(version: str, wanted: str) -> bool:
    return matches(version, wanted)

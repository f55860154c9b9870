"""The constitutions in force, each verified once. What cannot be verified governs nothing: it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg
import orjson
import structlog

from somagent.adapters.keys import KeyRing
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.policy.bundles import verify_bundle
from somagent.domain.policy.constitution import Constitution, parse_constitution

log = structlog.get_logger(__name__)

EVERYBODY: Final = ""
"""The tenant id of the deployment's own constitution, in force for tenants without one of their own."""

# A version that was activated and is gone was taken away: the one before it must not come back in its place.
_NEWEST = """
WITH newest AS (
  SELECT DISTINCT ON (tenant_id) tenant_id, version, content::text AS content, hash, signature, signer_key_id
  FROM constitutions ORDER BY tenant_id, version DESC
), activated AS (
  SELECT tenant_id, max(version) AS activated FROM constitution_proposals WHERE status = 'activated' GROUP BY tenant_id
)
SELECT coalesce(n.tenant_id, a.tenant_id) AS tenant_id, n.version, n.content, n.hash, n.signature, n.signer_key_id,
  k.public_key, a.activated
FROM newest n FULL JOIN activated a USING (tenant_id)
LEFT JOIN signing_keys k ON k.tenant_id = n.tenant_id AND k.key_id = n.signer_key_id
"""


@dataclass(frozen=True, slots=True)
class InForce:
    """A verified constitution, or the reason why there is none."""

    content_hash: str
    constitution: Constitution | None
    why: str = ""


_NONE: Final = InForce("", None, "there is none")


@dataclass(frozen=True, slots=True)
class _Checked:
    """A row as it was read, and what came of checking it."""

    row: asyncpg.Record
    standing: InForce


class Constitutions:
    """The newest constitution of each tenant."""

    kind = "constitutions"

    def __init__(self, keyring: KeyRing) -> None:
        self._keyring = keyring
        self._checked: Mapping[str, _Checked] = {}

    async def load(self, connection: asyncpg.Connection) -> None:
        rows = await connection.fetch(_NEWEST)
        self._checked = {row["tenant_id"]: self._check(row) for row in rows}

    def of(self, tenant_id: str) -> Constitution:
        """What is in force for ``tenant_id``.

        Raises:
            SomaError: ``constitution_unverifiable``.
        """
        found = self.standing(tenant_id)
        if found.constitution is None:
            raise _unverifiable(found.why)
        return found.constitution

    def standing(self, tenant_id: str) -> InForce:
        """The same with the reason, where it cannot be verified."""
        found = self._checked.get(tenant_id) or self._checked.get(EVERYBODY)
        if found is None:
            return _NONE
        if found.standing.constitution is None and found.row["public_key"] is None:
            return self._verified(found.row)  # no counter tells that a key's file was put back
        return found.standing

    def _check(self, row: asyncpg.Record) -> _Checked:
        """Once, until the row or the tenant's key changes: one tenant's change is not everybody's work."""
        before = self._checked.get(row["tenant_id"])
        if before is not None and before.row == row and row["public_key"] is not None:
            return before
        standing = self._verified(row)
        if standing.constitution is None:
            log.error("constitution_unverifiable", tenant=row["tenant_id"], version=row["version"], why=standing.why)
        return _Checked(row, standing)

    def _verified(self, row: asyncpg.Record) -> InForce:
        if row["activated"] is not None and (row["version"] is None or row["version"] < row["activated"]):
            return InForce(row["hash"] or "", None, f"version {row['activated']} was brought into force, and is gone")
        try:
            content: JsonObject = orjson.loads(row["content"])
            constitution = parse_constitution(content)
            if constitution.content_hash != row["hash"] or constitution.version != row["version"]:
                raise SomaError(Code.SIGNATURE_INVALID, "its content is not what its hash and version say")
            verify_bundle(content, row["signature"], self._public_key(row))
        except SomaError as error:
            return InForce(row["hash"], None, error.detail)
        return InForce(row["hash"], constitution)

    def _public_key(self, row: asyncpg.Record) -> str:
        """The tenant's signing key as PEM, or the deployment's."""
        if row["public_key"] is not None:
            return str(row["public_key"])
        key = self._keyring.find(row["signer_key_id"])
        if key is None:
            raise SomaError(Code.SIGNATURE_INVALID, f"its key {row['signer_key_id']} is not known here")
        return key.as_pem(private=False).decode()


def _unverifiable(why: str) -> SomaError:
    return SomaError(
        Code.CONSTITUTION_UNVERIFIABLE,
        f"The constitution cannot be verified: {why}. Nothing governed happens until it can; see the operator's guide.",
        retry_after=10,
    )

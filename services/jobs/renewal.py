"""Asking again: an approval that is open while the constitution changes is put anew, under the digest of now.

Votes that were cast before were for something else and go. People see the new digest when they read the job.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import asyncpg
import orjson

from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.services.audit.intake import Happening, take_in
from somagent.services.jobs.preparation import approval_digest

_OUTDATED: Final = """
SELECT a.tenant_id, a.step_id, a.what::text AS what, i.definition::text AS definition
FROM approvals a JOIN jobs j ON j.id = a.job_id JOIN installations i ON i.id = j.installation_id
WHERE a.id = $1 AND a.job_id = $2 AND a.status = 'pending' AND a.what->>'constitution_hash' <> $3
FOR UPDATE OF a
"""
_RENEW: Final = """
WITH gone AS (DELETE FROM approval_votes WHERE approval_id = $1)
UPDATE approvals SET digest = $2, what = jsonb_set(what, '{constitution_hash}', to_jsonb($3::text)) WHERE id = $1
"""


async def renew_outdated(
    connection: asyncpg.Connection, job_id: UUID, approval_id: UUID, constitution_hash: str
) -> bool:
    """Put an open approval anew when another constitution is in force than the one it was put under.

    Returns:
        Whether it was outdated.
    """
    async with connection.transaction():
        row = await connection.fetchrow(_OUTDATED, approval_id, job_id, constitution_hash)
        if row is None:
            return False
        what = orjson.loads(row["what"])
        definition = CapsuleDefinition.model_validate(orjson.loads(row["definition"]))
        step = next(step for step in definition.steps if step.id == row["step_id"])
        digest = approval_digest(step, what["arguments"], definition, constitution_hash)
        await connection.execute(_RENEW, approval_id, digest, constitution_hash)
        happening = Happening(
            tenant_id=row["tenant_id"],
            actor="somagent",
            action="approval.renewed",
            object=f"approval:{approval_id}",
            detail={"job_id": str(job_id), "digest": digest, "constitution_hash": constitution_hash},
        )
        await take_in(connection, happening)
    return True

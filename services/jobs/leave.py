"""The moment before an effect: its verdict, and leave where people have to give it.

What people approved is bound by a digest over arguments, capsule and constitution. Right before the effect the digest
is computed anew, from what is in Postgres at that moment and not from what this process remembers: the constitution in
force and the capsule's own row. Whatever has changed since leaves the effect undone.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import asyncpg
import orjson
from pydantic import JsonValue, ValidationError

from somagent.domain.capsules.definition import CapsuleDefinition, Step
from somagent.domain.errors import Code, SomaError
from somagent.services.jobs.preparation import Prepared, approval_digest, prepare
from somagent.services.jobs.work import Work

# The votes are counted again: a status alone would be as good as whoever could write it.
_APPROVED: Final = """
SELECT true FROM approvals a JOIN jobs j ON j.id = a.job_id
WHERE a.job_id = $1 AND a.step_id = $2 AND a.digest = $3 AND a.status = 'approved'
  AND a.quorum <= (SELECT count(DISTINCT v.user_id) FROM approval_votes v
    WHERE v.approval_id = a.id AND v.decision = 'approve' AND v.user_id <> j.submitted_by)
  AND NOT EXISTS (SELECT 1 FROM approval_votes v WHERE v.approval_id = a.id AND v.decision = 'reject')
"""
_DEFINITION: Final = "SELECT definition::text FROM installations WHERE id = $1"


async def prepare_with_leave(connection: asyncpg.Connection, work: Work, step: Step) -> Prepared:
    """A step ready to run: judged by what is in force, and approved where it has to be.

    Raises:
        SomaError: as :func:`prepare`; ``approval_digest_mismatch`` where people did not approve exactly this;
            ``constitution_unverifiable``, ``database_unavailable``.
    """
    guarded = step.requires_approval or step.id in work.approved
    if guarded:
        await work.gate.watch.refresh()
    law = await work.law()
    prepared = await prepare(step, work.job, law)
    if guarded:
        await _require_approval(connection, work, step, prepared.arguments, law.constitution.content_hash)
    return prepared


async def _require_approval(
    connection: asyncpg.Connection, work: Work, step: Step, arguments: JsonValue, constitution_hash: str
) -> None:
    definition = await _definition_on_record(connection, work)
    if definition is not None:
        digest = approval_digest(step, arguments, definition, constitution_hash)
        if await connection.fetchval(_APPROVED, UUID(work.job.job_id), step.id, digest):
            return
    raise SomaError(
        Code.APPROVAL_DIGEST_MISMATCH,
        f"What step `{step.id}` would run is not what people approved: its arguments, the capsule or the "
        "constitution have changed since. The effect was left undone; retry the job to ask again.",
    )


async def _definition_on_record(connection: asyncpg.Connection, work: Work) -> CapsuleDefinition | None:
    text = await connection.fetchval(_DEFINITION, work.job.installation_id)
    try:
        return None if text is None else CapsuleDefinition.model_validate(orjson.loads(text))
    except ValidationError:
        return None

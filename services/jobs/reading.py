"""Jobs as people read them: one statement, and Postgres itself writes the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import asyncpg

from somagent.adapters.postgres.database import TenantConnection
from somagent.domain.errors import Code, SomaError

_STAMP = """to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def _stamp(column: str) -> str:
    return _STAMP.format(column)


def _problem(column: str) -> str:
    """The error as a problem: without ``status``, because no HTTP answer failed."""
    code = f"({column}->>'code')"
    return f"""CASE WHEN {column} IS NULL THEN NULL ELSE jsonb_build_object('type', 'urn:somagent:problem:' || {code},
      'title', upper(left({code}, 1)) || replace(substr({code}, 2), '_', ' '), 'instance', '/v1/jobs/' || j.id)
      || {column} END"""


_HEAD = f"""
  'id', j.id, 'task', j.task, 'status', j.status, 'capsule_id', j.capsule_id, 'version', j.capsule_version,
  'environment', j.environment, 'priority', j.priority, 'session_id', j.session_id,
  'parent_job_id', j.parent_job_id, 'submitted_by', j.submitted_by,
  'progress', json_build_object('completed', j.steps_done, 'total', j.steps_total, 'current', j.current),
  'result', CASE WHEN j.outputs IS NULL THEN NULL ELSE json_build_object('outputs', j.outputs) END,
  'error', {_problem("j.error")},
  'usage', json_build_object('tokens', j.spent_tokens, 'reserved_tokens', j.reserved_tokens, 'cost', j.cost),
  'budget_tokens', j.budget_tokens, 'workflow_id', j.workflow_id, 'run_id', j.run_id,
  'temporal_ui_url', $1::text || '/workflows/' || j.workflow_id || coalesce('/' || j.run_id || '/history', ''),
  'deadline', {_stamp("j.deadline")}, 'created_at', {_stamp("j.created_at")},
  'started_at', {_stamp("j.started_at")}, 'finished_at', {_stamp("j.finished_at")}
"""
_STEPS = f"""
  (SELECT coalesce(json_agg(json_build_object('id', p.step->>'id', 'action', p.step->>'action',
     'status', coalesce(s.status, CASE WHEN j.status IN ('cancelled', 'killed') THEN 'cancelled' ELSE 'pending' END),
     'attempt', coalesce(s.attempt, 0), 'started_at', {_stamp("s.started_at")},
     'finished_at', {_stamp("s.finished_at")}, 'output', s.output, 'error', {_problem("s.error")})
     ORDER BY p.position), '[]')
   FROM installations i CROSS JOIN jsonb_array_elements(i.steps) WITH ORDINALITY AS p(step, position)
   LEFT JOIN job_steps s ON s.job_id = j.id AND s.step_id = p.step->>'id'
   WHERE i.id = j.installation_id)
"""  # noqa: S608 - constants of ours
_APPROVALS = f"""
  CASE WHEN NOT EXISTS (SELECT 1 FROM approvals a WHERE a.job_id = j.id) THEN '[]'::json ELSE
  (SELECT json_agg(json_build_object('id', a.id, 'step_id', a.step_id, 'question', a.question, 'digest', a.digest,
     'what', a.what, 'quorum', a.quorum, 'status', a.status, 'created_at', {_stamp("a.created_at")},
     'decided_at', {_stamp("a.decided_at")},
     'votes', (SELECT coalesce(json_agg(json_build_object('by', v.user_id, 'decision', v.decision, 'reason', v.reason,
        'created_at', {_stamp("v.created_at")}) ORDER BY v.created_at), '[]') FROM approval_votes v
        WHERE v.approval_id = a.id)) ORDER BY a.created_at) FROM approvals a WHERE a.job_id = j.id) END
"""  # noqa: S608 - constants of ours

# Postgres evaluates only the branch that is taken: a job that is known as it stands costs one look at its row.
_ONE = f"""
SELECT j.event_seq, j.finished_at IS NOT NULL AS finished,
  CASE WHEN j.event_seq = $3 AND j.finished_at IS NOT NULL THEN NULL ELSE
    json_build_object({_HEAD}, 'inputs', j.inputs, 'attachments', j.attachments, 'steps', {_STEPS},
      'approvals', {_APPROVALS})::text END AS document
FROM jobs j WHERE j.id = $2
"""  # noqa: S608 - constants of ours
_LIST = f"""
SELECT json_build_object({_HEAD})::text AS document, j.created_at, j.id FROM jobs j
WHERE ($2::text[] IS NULL OR j.status = ANY($2)) AND ($3::text IS NULL OR j.capsule_id = $3)
  AND ($4::timestamptz IS NULL OR (j.created_at, j.id) < ($4, $5))
  AND ($7::uuid IS NULL OR j.parent_job_id = $7)
ORDER BY j.created_at DESC, j.id DESC LIMIT $6
"""  # noqa: S608 - constants of ours
_EVENTS = f"""
SELECT seq, type, data::text AS data, {_stamp("created_at")} AS at FROM job_events
WHERE job_id = $1 AND seq > $2 ORDER BY seq LIMIT 500
"""  # noqa: S608 - constants of ours


class FinishedJobs:
    """Documents of finished jobs, which change only with a retry, and that raises the job's ``event_seq``.

    Every reading still asks Postgres for the row, under the tenant's policy; only the writing of the JSON is spared.
    """

    def __init__(self, *, documents: int = 512, largest: int = 64 * 1024) -> None:
        self._documents: dict[UUID, tuple[int, bytes]] = {}
        self._most = documents
        self._largest = largest

    async def read(self, connection: TenantConnection, job_id: UUID, ui_base: str) -> bytes:
        """The whole job as JSON.

        Raises:
            SomaError: ``not_found``, also for another tenant's job.
        """
        known = self._documents.get(job_id)
        row = await connection.fetchrow(_ONE, ui_base, job_id, known[0] if known else -1)
        if row is None:
            raise SomaError(Code.NOT_FOUND, "There is no such job.")
        if row["document"] is None and known is not None:
            return known[1]
        document: bytes = row["document"].encode()
        if row["finished"] and len(document) <= self._largest:
            if len(self._documents) >= self._most:
                del self._documents[next(iter(self._documents))]
            self._documents[job_id] = (row["event_seq"], document)
        return document


async def list_jobs(
    connection: TenantConnection,
    ui_base: str,
    *,
    statuses: Sequence[str] | None,
    capsule_id: str | None,
    parent_job_id: UUID | None,
    before: tuple[object, UUID] | None,
    limit: int,
) -> list[asyncpg.Record]:
    """Jobs as JSON text with their place in the order, newest first."""
    moment, identity = before or (None, None)
    rows: list[asyncpg.Record] = await connection.fetch(
        _LIST, ui_base, statuses, capsule_id, moment, identity, limit, parent_job_id
    )
    return rows


async def read_events(connection: TenantConnection, job_id: UUID, after: int) -> list[asyncpg.Record]:
    """Events past ``after``, in order, at most 500."""
    rows: list[asyncpg.Record] = await connection.fetch(_EVENTS, job_id, after)
    return rows

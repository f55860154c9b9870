"""Recording verdicts: the decision with its features, and what the audit chain keeps of it, in one statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg
import orjson

from somagent.domain.policy.evaluation import Evaluation, text_hash
from somagent.domain.policy.scoring import Verdict

_RECORD: Final = """
WITH decided AS (
  INSERT INTO policy_decisions (id, tenant_id, user_id, source, object, action, allowed, score, threshold, severity,
    constitution_hash, policy, features, created_at)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::text::jsonb, $13::text::jsonb, clock_timestamp())
  ON CONFLICT (id) DO NOTHING RETURNING id
)
INSERT INTO audit_intake (tenant_id, topic, actor, action, object, outcome, detail, request_id, trace_id)
SELECT $2, 'policy.decisions', $17, 'policy.decided', coalesce($5, 'decision:' || id),
  CASE WHEN $7 THEN 'allowed' ELSE 'refused' END, $14::text::jsonb, $15, $16 FROM decided
"""
"""The same columns as :func:`somagent.services.audit.intake.take_in`; one round trip instead of four."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked, where, and about what."""

    tenant_id: str
    user_id: str
    """On whose behalf; the decision is theirs."""
    actor: str
    """Who asked; the audit's entry is theirs."""
    source: str
    """evaluate, session, chat, job or step."""
    object: str | None = None
    """``session:…``, ``job:…``, ``step:job:id``."""
    request_id: str | None = None
    trace_id: str | None = None


async def record_decision(
    connection: asyncpg.Connection, asked: Asked, decision_id: UUID, evaluation: Evaluation, verdict: Verdict
) -> None:
    """Write a decision in the caller's transaction, or as one of its own; a second time changes nothing."""
    detail = {
        "decision_id": str(decision_id),
        "user": asked.user_id,
        "source": asked.source,
        "action": evaluation.metadata.action,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "severity": verdict.severity,
        "policy": verdict.policy,
        "constitution_hash": verdict.constitution_hash,
        "prompt_sha256": text_hash(evaluation.prompt),
    }
    features = [feature.model_dump() for feature in verdict.features]
    await connection.execute(
        _RECORD, decision_id, asked.tenant_id, asked.user_id, asked.source, asked.object, evaluation.metadata.action,
        verdict.allowed, verdict.score, verdict.threshold, verdict.severity, verdict.constitution_hash,
        orjson.dumps(verdict.policy).decode(), orjson.dumps(features).decode(), orjson.dumps(detail).decode(),
        asked.request_id, asked.trace_id, asked.actor,
    )  # fmt: skip

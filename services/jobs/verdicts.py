"""The verdict on a job when it is taken and on a step before its effect, and what is kept of a refusal.

A step carries no penalty for a required human: nothing of it runs before people have approved exactly it
(:mod:`somagent.services.jobs.leave`), so nobody is missing any more when it is judged. Neither can its budget term be
below 1: a step that asks a model waits with ``budget_exhausted`` until its worst case is reserved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from uuid import UUID, uuid5

import asyncpg
from pydantic import JsonValue

from somagent.adapters.metrics import policy_evaluation_latency_seconds
from somagent.domain.actions import ActionSpec
from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.policy.evaluation import Evaluation, EvaluationMetadata, manifest_risk
from somagent.domain.policy.law import Law
from somagent.domain.policy.scoring import DEFAULT_RISK, Signals, Verdict
from somagent.services.jobs.store import JobState
from somagent.services.policy.decisions import Asked, record_decision
from somagent.services.policy.engine import count
from somagent.services.policy.verdict_log import log_verdict

_SPACE: Final = UUID("5c3f6c0e-6d0b-5d0f-9a55-2f1f4c1f7c11")
_LONG_TEXT: Final = 16_384
"""Characters from which on rules are matched beside the event loop."""


class ActRefused(SomaError):
    """Policy refused a job or a step; with what was asked, so that the refusal can be recorded."""

    def __init__(self, where: str, evaluation: Evaluation, verdict: Verdict) -> None:
        matched = f"; it matched {', '.join(verdict.policy)}" if verdict.policy else ""
        super().__init__(
            Code.POLICY_REFUSED,
            f"Policy refused `{evaluation.metadata.action}` {where}: score {verdict.score:.3f}, threshold "
            f"{verdict.threshold}{matched}. Lower its risk or cost, or have the rules or the constitution changed.",
        )
        self.evaluation = evaluation
        self.verdict = verdict


async def verdict_on_job(tenant_id: str, definition: CapsuleDefinition, inputs: JsonObject, law: Law) -> Verdict:
    """Judge a job before it is taken: by the riskiest action its capsule declares and every text of its inputs.

    In memory: nothing is written but a refusal, which whoever took the request records.

    Raises:
        ActRefused: ``policy_refused``.
    """
    known = EvaluationMetadata(action="capsule.run", capsule_id=definition.id, risk=_risk_of(definition))
    return await _judged(f"of {definition.id}", tenant_id, _Act(known, inputs, None), law, source="job")


async def verdict_on_step(step_id: str, spec: ActionSpec, arguments: JsonValue, job: JobState, law: Law) -> Verdict:
    """Judge a step by its action's risk and, where the tenant has rules, by every text in its arguments.

    Raises:
        ActRefused: ``policy_refused``.
    """
    known = EvaluationMetadata(action=spec.name, tool=spec.adapter, capsule_id=job.capsule_id, risk=spec.risk)
    act = _Act(known, arguments, _role(arguments))
    return await _judged(f"in step `{step_id}`", job.tenant_id, act, law, source="step", job_id=job.job_id)


async def record_refusal(connection: asyncpg.Connection, job: JobState, step_id: str, refused: ActRefused) -> None:
    """Keep a refused step's verdict, and audit it, in the caller's transaction; once for each attempt."""
    about = f"step:{job.job_id}:{step_id}"
    decision_id = uuid5(_SPACE, f"{about}:{job.epoch}:{job.attempt(step_id)}")
    asked = Asked(job.tenant_id, job.submitted_by, "somagent", "step", about)
    await record_decision(connection, asked, decision_id, refused.evaluation, refused.verdict)


@dataclass(frozen=True, slots=True)
class _Act:
    """What is judged; its texts are gathered only where somebody looks at them."""

    known: EvaluationMetadata
    arguments: JsonValue
    role: str | None

    @property
    def evaluation(self) -> Evaluation:
        return Evaluation(prompt="\n".join(_texts(self.arguments)), role=self.role, metadata=self.known)


async def _judged(where: str, tenant_id: str, act: _Act, law: Law, *, source: str, **about: str) -> Verdict:
    with policy_evaluation_latency_seconds.time():
        if law.rules.rules:
            verdict = await _by_rules(act.evaluation, law)
        else:
            verdict = law.judge(Signals(risk=act.known.effective_risk))
    count(verdict)
    log_verdict(law.verdict_logging, tenant_id, source, verdict, action=act.known.action, **about)
    if not verdict.allowed:
        raise ActRefused(where, act.evaluation, verdict)
    return verdict


async def _by_rules(evaluation: Evaluation, law: Law) -> Verdict:
    if law.rules.is_slow or len(evaluation.prompt) > _LONG_TEXT:
        return await asyncio.to_thread(evaluation.judge, law)
    return evaluation.judge(law)


def _risk_of(definition: CapsuleDefinition) -> float:
    """The risk of the riskiest action that a capsule declares."""
    return max(
        (manifest_risk(f"{tool.adapter}.{verb}") for tool in definition.tools for verb in tool.actions),
        default=DEFAULT_RISK,
    )


def _role(arguments: JsonValue) -> str | None:
    """The role that a model step asks for."""
    role = arguments.get("role") if isinstance(arguments, dict) else None
    return role if isinstance(role, str) else None


def _texts(value: JsonValue) -> Iterator[str]:
    """Every text in a step's arguments; the words of a command are one text, as they would be typed."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        if value and all(isinstance(item, str) for item in value):
            yield " ".join(map(str, value))
        else:
            for item in value:
                yield from _texts(item)

"""The policy engine: every verdict asked outside a job's steps, recorded once and remembered for ten minutes.

No verdict is a refusal: what cannot be judged or recorded raises, and nobody goes on.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from uuid import UUID, uuid4

import orjson
import structlog

from somagent.adapters.metrics import policy_evaluation_latency_seconds, policy_evaluations_total
from somagent.adapters.postgres.database import Database
from somagent.domain.caller import Caller
from somagent.domain.errors import Code, SomaError
from somagent.domain.model import JsonObject
from somagent.domain.policy.evaluation import Evaluation
from somagent.domain.policy.law import Law
from somagent.domain.policy.scoring import Verdict
from somagent.services.gate.gate import Gate
from somagent.services.policy.cache import VerdictCache
from somagent.services.policy.decisions import Asked, record_decision
from somagent.services.policy.verdict_log import log_kept, log_verdict

log = structlog.get_logger(__name__)

VERDICT_SECONDS: Final = 10.0
"""A verdict that takes longer is late, and so a refusal."""
_LONG_PROMPT: Final = 16_384
"""Characters from which on rules are matched beside the event loop."""


@dataclass(frozen=True)
class Decision:
    """A verdict as it is answered. ``body`` is the contract's JSON, ready to go out."""

    allowed: bool
    score: float
    severity: str
    constitution_hash: str
    body: bytes

    @cached_property
    def document(self) -> JsonObject:
        """The answer: allowed, score, threshold, severity, reasons, decision_id, cached."""
        parsed: JsonObject = orjson.loads(self.body)
        return parsed

    @property
    def headers(self) -> dict[str, str]:
        """The headers of governed answers."""
        return governed_headers(self.allowed, self.score, self.constitution_hash)

    def require_allowed(self) -> None:
        """Insist on the verdict.

        Raises:
            SomaError: ``policy_refused`` with the score and the rules that matched.
        """
        if not self.allowed:
            raise policy_refused(self.document)


class PolicyEngine:
    """Judges, records and remembers."""

    def __init__(self, gate: Gate, database: Database, cache: VerdictCache) -> None:
        """``database`` as ``soma_app``."""
        self._gate = gate
        self._database = database
        self._cache = cache
        self._marks: dict[str, str] = {}

    async def evaluate(
        self,
        caller: Caller,
        evaluation: Evaluation,
        *,
        source: str = "evaluate",
        about: str | None = None,
        user_id: str | None = None,
        request_id: str | None = None,
    ) -> Decision:
        """The verdict on a prompt and the act behind it, for the tenant that ``caller`` acts for.

        Args:
            source: where it is asked: evaluate, session, chat, job.
            about: the object, as ``session:0190…``.
            user_id: on whose behalf; the caller when absent.

        Raises:
            SomaError: ``constitution_unverifiable``, ``database_unavailable``, ``policy_unavailable``: there is no
                verdict, so nothing may happen.
        """
        tenant_id, user = caller.tenant_id, user_id or caller.user_id
        with policy_evaluation_latency_seconds.time():
            law = await self._gate.law(tenant_id)
            await self._notice(tenant_id, law)
            field = _field(user, evaluation, law)
            kept = await self._cache.find(tenant_id, field)
            if kept is not None and (decision := _decoded(kept)) is not None:
                count(decision)
                if law.verdict_logging == "every" or not decision.allowed:
                    log_kept(law.verdict_logging, tenant_id, source, decision.document)
                return decision
            asked = Asked(tenant_id, user, caller.user_id, source, about, request_id)
            return await self._decided(asked, evaluation, law, field)

    async def score(self, tenant_id: str, evaluation: Evaluation) -> Verdict:
        """The verdict alone: neither recorded nor remembered.

        Raises:
            SomaError: as :meth:`evaluate`.
        """
        return await _judged(evaluation, await self._gate.law(tenant_id))

    async def forget(self, tenant_id: str) -> None:
        """Empty what is remembered of a tenant; whoever changed its rules or its constitution calls it."""
        await self._cache.empty(tenant_id)

    async def _notice(self, tenant_id: str, law: Law) -> None:
        """Empty the tenant's verdicts when its law has changed since the last one here."""
        mark = law.mark
        known = self._marks.get(tenant_id)
        if known != mark:
            self._marks[tenant_id] = mark
            if known is not None:
                await self._cache.empty(tenant_id)

    async def _decided(self, asked: Asked, evaluation: Evaluation, law: Law, field: str) -> Decision:
        try:
            async with asyncio.timeout(VERDICT_SECONDS):
                verdict = await _judged(evaluation, law)
                decision_id = uuid4()
                async with self._database.connection(asked.tenant_id) as connection:
                    await record_decision(connection, asked, decision_id, evaluation, verdict)
        except TimeoutError as error:
            raise SomaError(
                Code.POLICY_UNAVAILABLE,
                f"There was no verdict within {VERDICT_SECONDS:g} s, and none is a refusal. Try again.",
            ) from error
        count(verdict)
        log_verdict(law.verdict_logging, asked.tenant_id, asked.source, verdict, decision_id=str(decision_id))
        decision = decision_of(verdict, decision_id)
        await self._cache.keep(asked.tenant_id, field, _encoded(decision))
        return decision


def count(verdict: Verdict | Decision) -> None:
    """Count a verdict."""
    policy_evaluations_total.labels("allow" if verdict.allowed else "refuse", verdict.severity).inc()


def decision_of(verdict: Verdict, decision_id: UUID) -> Decision:
    """A fresh verdict as it is answered."""
    body = orjson.dumps(
        {
            "allowed": verdict.allowed,
            "score": verdict.score,
            "threshold": verdict.threshold,
            "severity": verdict.severity.value,
            "reasons": {
                "constitution_hash": verdict.constitution_hash,
                "policy": verdict.policy,
                "features": [feature.model_dump() for feature in verdict.features],
            },
            "decision_id": str(decision_id),
            "cached": False,
        }
    )
    return Decision(verdict.allowed, verdict.score, verdict.severity.value, verdict.constitution_hash, body)


def governed_headers(allowed: bool, score: float, constitution_hash: str) -> dict[str, str]:
    """The headers of governed answers."""
    return {
        "X-Policy-Decision": "allow" if allowed else "refuse",
        "X-Policy-Score": repr(score),
        "X-Constitution-Hash": constitution_hash,
    }


def policy_refused(document: JsonObject) -> SomaError:
    """The refusal that an answer stands for."""
    reasons = document["reasons"]
    rules = reasons["policy"] if isinstance(reasons, dict) else None
    matched = f"; it matched {', '.join(map(str, rules))}" if isinstance(rules, list) and rules else ""
    return SomaError(
        Code.POLICY_REFUSED,
        f"Policy refused this: score {document['score']:.3f}, threshold {document['threshold']}{matched}. Change what "
        f"is asked, or have the rules or the constitution changed. The decision is {document['decision_id']}.",
    )


async def _judged(evaluation: Evaluation, law: Law) -> Verdict:
    if law.rules.rules and (law.rules.is_slow or len(evaluation.prompt) > _LONG_PROMPT):
        return await asyncio.to_thread(evaluation.judge, law)
    return evaluation.judge(law)


def _field(user_id: str, evaluation: Evaluation, law: Law) -> str:
    """The name of an answer: SHA-256 over everything that decides it."""
    known = evaluation.metadata
    decisive: object = (
        known.model_dump(mode="json")
        if law.rules.is_slow
        else [
            known.action, known.tool, known.capsule_id, known.risk, known.confidence, known.budget_required,
            known.budget_remaining, known.requires_human,
        ]
    )  # fmt: skip
    parts = [law.mark, user_id, evaluation.prompt, evaluation.role, decisive]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _encoded(decision: Decision) -> bytes:
    """What the cache keeps: the headers' values in a line, and the answer that says it was cached."""
    first = f"{int(decision.allowed)} {decision.score!r} {decision.severity} {decision.constitution_hash}\n".encode()
    return first + decision.body.removesuffix(b"false}") + b"true}"


def _decoded(kept: bytes) -> Decision | None:
    first, _, body = kept.partition(b"\n")
    parts = first.decode("ascii", "replace").split(" ")
    if len(parts) != 4 or parts[0] not in ("0", "1") or not body:
        return None
    return Decision(parts[0] == "1", float(parts[1]), parts[2], parts[3], body)

"""The gate that a prompt passes before anything is done for it, stage by stage, in the contract's order.

Global kill switch and token come first, at the edge (:mod:`somagent.api.gateway`); then, here: the tenant's and the
capsule's kill switch, residency, moderation, policy. A missing or late verdict is a refusal, and every refusal is
audited with its stage.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import structlog

from somagent.adapters.postgres.database import Database
from somagent.domain.caller import Caller
from somagent.domain.capsules.definition import CapsuleDefinition
from somagent.domain.errors import SomaError
from somagent.domain.model import JsonObject
from somagent.domain.policy.evaluation import Evaluation, EvaluationMetadata
from somagent.domain.policy.residency import require_residency, restriction
from somagent.services.audit.intake import by, take_in
from somagent.services.budgets import remaining_today
from somagent.services.gate.gate import Gate
from somagent.services.moderation.guard import Moderation, ModerationResult
from somagent.services.policy.engine import Decision, PolicyEngine
from somagent.services.sessions.capsule import capsule_of

log = structlog.get_logger(__name__)

CONTRACT_MODERATION: Final = {"strike_count", "flagged_terms", "reasons", "bypassed"}


@dataclass(frozen=True, slots=True)
class Approach:
    """A prompt that wants to be let in.

    Attributes:
        prompt: what is moderated and judged.
        source: ``session``, ``turn`` or ``chat``; refusals are audited as ``{source}.refused``.
        action: what the policy's rules see.
        about: the object, as ``session:0190…``.
        tokens: what it may take at most.
        known: what the caller knows of the act: risk, confidence, whether a human is required.
        region: where the caller wants it to be worked on; anything but a text that is given is refused.
    """

    prompt: str
    source: str
    action: str
    about: str
    tokens: int
    role: str = "dialogue_reasoning"
    capsule_id: str | None = None
    region: object = None
    known: EvaluationMetadata = field(default_factory=EvaluationMetadata)


@dataclass(slots=True)
class Passage:
    """How far a prompt has come."""

    stage: str = "kill_switch"
    capsule: CapsuleDefinition | None = None
    moderation: ModerationResult | None = None
    decision: Decision | None = None

    @property
    def moderation_view(self) -> JsonObject:
        """The contract's ``moderation``."""
        found = self.moderation
        return {} if found is None else found.model_dump(mode="json", include=CONTRACT_MODERATION)

    @property
    def policy_view(self) -> JsonObject:
        """The contract's ``policy``, with the decision's id."""
        found = self.decision
        if found is None:
            return {}
        return {name: found.document[name] for name in ("allowed", "score", "reasons", "decision_id")}


class Admission:
    """Lets prompts in, or refuses them.

    Args:
        region: where this deployment is, as its operator says; empty where that is not said.
    """

    def __init__(
        self, database: Database, gate: Gate, moderation: Moderation, policy: PolicyEngine, region: str
    ) -> None:
        self._database = database
        self._gate = gate
        self._moderation = moderation
        self._policy = policy
        self._region = region

    async def admit(
        self, caller: Caller, approach: Approach, passage: Passage, *, request_id: str | None = None
    ) -> None:
        """Take a prompt through every stage; ``passage`` tells how far it has come, also when this raises.

        Raises:
            SomaError: ``kill_switch_active``, ``database_unavailable``, ``capsule_not_installed``,
                ``capsule_recalled``, ``residency_refused``, ``moderation_*``, ``policy_refused``,
                ``policy_unavailable``, ``constitution_unverifiable``.
        """
        try:
            await self._stages(caller, approach, passage, request_id)
        except SomaError as error:
            await self._audit(caller, approach, passage, error, request_id)
            raise

    async def _stages(self, caller: Caller, approach: Approach, passage: Passage, request_id: str | None) -> None:
        await self._gate.watch.ensure_fresh()
        self._gate.kills.require_off(caller.tenant_id, approach.capsule_id)
        passage.stage = "capsule"
        async with self._database.connection(caller.tenant_id) as connection:
            passage.capsule = await capsule_of(connection, approach.capsule_id)
            left = await remaining_today(connection, caller.tenant_id)
        passage.stage = "residency"
        self._require_residency(caller, approach, passage.capsule)
        passage.stage = "moderation"
        passage.moderation = await self._moderation.check(
            caller, approach.prompt, source=approach.source, about=approach.about, request_id=request_id
        )
        passage.stage = "policy"
        known = EvaluationMetadata(
            action=approach.action,
            capsule_id=approach.capsule_id,
            risk=approach.known.risk,
            confidence=approach.known.confidence,
            requires_human=approach.known.requires_human,
            budget_required=float(approach.tokens),
            budget_remaining=float(min(left, approach.tokens)),
        )
        evaluation = Evaluation(prompt=approach.prompt, role=approach.role, metadata=known)
        passage.decision = await self._policy.evaluate(
            caller, evaluation, source=approach.source, about=approach.about, request_id=request_id
        )
        passage.decision.require_allowed()
        passage.stage = "admitted"

    def _require_residency(self, caller: Caller, approach: Approach, capsule: CapsuleDefinition | None) -> None:
        settings = self._gate.tenants.of(caller.tenant_id).settings
        require_residency(
            self._region,
            (
                restriction("The tenant", settings.get("residency")),
                restriction("The capsule", capsule.policies.residency if capsule else None),
                restriction("The request", approach.region),
            ),
        )

    async def _audit(
        self, caller: Caller, approach: Approach, passage: Passage, error: SomaError, request_id: str | None
    ) -> None:
        detail: JsonObject = {
            "stage": passage.stage,
            "code": error.code.value,
            "capsule_id": approach.capsule_id,
            "prompt_sha256": hashlib.sha256(approach.prompt.encode()).hexdigest(),
        }
        happening = by(
            caller, f"{approach.source}.refused", approach.about, topic="gateway.audit", outcome="refused",
            detail=detail, request_id=request_id,
        )  # fmt: skip
        try:
            async with self._database.connection(caller.tenant_id) as connection:
                await take_in(connection, happening)
        except (SomaError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as lost:
            log.error("refusal_not_audited", stage=passage.stage, code=error.code, error=repr(lost))

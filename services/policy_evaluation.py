"""The policy engine's verdict on a prompt and what is known of the act behind it."""

from __future__ import annotations

from typing import Final
from uuid import UUID, uuid5

from pydantic import ConfigDict, ValidationError

from somagent.domain.actions import ACTIONS
from somagent.domain.actions.remote import PolicyEvaluateOutput, PolicyEvaluateParams
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import Model
from somagent.domain.policy.law import Law
from somagent.domain.policy.scoring import DEFAULT_RISK, Amount, Share, Signals, Verdict

_SPACE: Final = UUID("7d1f3a68-5a0e-5f8e-b0e6-51b8b8f5d0c3")


class EvaluationMetadata(Model):
    """What is known of the act. Further fields are the caller's own and decide nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    action: str | None = None
    tool: str | None = None
    capsule_id: str | None = None
    risk: Share | None = None
    confidence: Share = 1.0
    budget_required: Amount | None = None
    budget_remaining: Amount | None = None
    requires_human: bool = False


def evaluate(params: PolicyEvaluateParams, decision_key: str, law: Law) -> PolicyEvaluateOutput:
    """Judge.

    Args:
        decision_key: the same key gives the same ``decision_id``.

    Raises:
        SomaError: ``params_invalid`` for numbers out of range or not finite, with every fault.
    """
    metadata = _metadata(params)
    signals = Signals(
        matched=law.rules.matched(params.prompt),
        confidence=metadata.confidence,
        risk=_manifest_risk(metadata.action) if metadata.risk is None else metadata.risk,
        budget_required=metadata.budget_required,
        budget_remaining=metadata.budget_remaining,
        requires_human=metadata.requires_human,
    )
    return _output(law.judge(signals), str(uuid5(_SPACE, decision_key)))


def _metadata(params: PolicyEvaluateParams) -> EvaluationMetadata:
    try:
        return EvaluationMetadata.model_validate(params.metadata)
    except ValidationError as error:
        faults = [
            Fault(".".join(("metadata", *map(str, one["loc"]))), one["type"], one["msg"])
            for one in error.errors(include_url=False, include_input=False)
        ]
        words = "; ".join(f"{fault.path}: {fault.detail}" for fault in faults)
        raise SomaError(Code.PARAMS_INVALID, f"The metadata does not fit: {words}.", errors=faults) from error


def _manifest_risk(action: str | None) -> float:
    spec = ACTIONS.get(action or "")
    return DEFAULT_RISK if spec is None else spec.risk


def _output(verdict: Verdict, decision_id: str) -> PolicyEvaluateOutput:
    shown = verdict.model_dump(mode="json", include={"constitution_hash", "policy", "features"})
    return PolicyEvaluateOutput(
        allowed=verdict.allowed,
        score=verdict.score,
        threshold=verdict.threshold,
        severity=verdict.severity.value,
        reasons=shown,
        decision_id=decision_id,
        cached=False,
    )

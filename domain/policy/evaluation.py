"""What is asked about an act, and the signals that follow from it. Pure: the same question has the same answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import ConfigDict, Field, ValidationError

from somagent.domain.actions import ACTIONS
from somagent.domain.errors import Code, Fault, SomaError
from somagent.domain.model import JsonObject, Model
from somagent.domain.policy.law import Law
from somagent.domain.policy.rules import Subject
from somagent.domain.policy.scoring import DEFAULT_RISK, Amount, Share, Signals, Verdict

ActName = Annotated[str, Field(max_length=200)]


class EvaluationMetadata(Model):
    """What is known of the act. Further fields are the caller's own: only a rule's condition sees them."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    action: ActName | None = None
    tool: ActName | None = None
    capsule_id: ActName | None = None
    risk: Share | None = None
    confidence: Share | None = None
    budget_required: Amount | None = None
    budget_remaining: Amount | None = None
    requires_human: bool | None = None

    @property
    def effective_risk(self) -> float:
        """The risk given, else that of the tool's manifest, else 0.1."""
        return manifest_risk(self.action, self.tool) if self.risk is None else self.risk


_KNOWN: Final = ("risk", "confidence", "requires_human")


def known_of(metadata: JsonObject) -> EvaluationMetadata:
    """What a caller's own metadata says of the act: its risk, its confidence, whether a human is required.

    Raises:
        SomaError: ``validation_failed`` with every fault.
    """
    try:
        return EvaluationMetadata.model_validate({name: metadata[name] for name in _KNOWN if name in metadata})
    except ValidationError as error:
        faults = [
            Fault(".".join(("metadata", *map(str, one["loc"]))), one["type"], one["msg"])
            for one in error.errors(include_url=False, include_input=False)
        ]
        words = "; ".join(f"{fault.path}: {fault.detail}" for fault in faults)
        raise SomaError(Code.VALIDATION_FAILED, f"The metadata does not fit: {words}.", errors=faults) from error


class Evaluation(Model):
    """A prompt and what is known of the act behind it."""

    prompt: str
    role: str | None = None
    metadata: EvaluationMetadata = EvaluationMetadata()

    def signals(self, law: Law) -> Signals:
        """x(a): what the score is made of."""
        known = self.metadata
        return Signals(
            matched=law.rules.matched(self.subject),
            confidence=1.0 if known.confidence is None else known.confidence,
            risk=known.effective_risk,
            budget_required=known.budget_required,
            budget_remaining=known.budget_remaining,
            requires_human=bool(known.requires_human),
        )

    @property
    def subject(self) -> Subject:
        """What rules look at."""
        known = self.metadata
        return Subject(
            prompt=self.prompt,
            role=self.role,
            action=known.action,
            tool=known.tool,
            capsule_id=known.capsule_id,
            risk=known.effective_risk,
            confidence=1.0 if known.confidence is None else known.confidence,
            metadata=known.model_dump(mode="json"),
        )

    def judge(self, law: Law) -> Verdict:
        """The verdict."""
        return law.judge(self.signals(law))


def manifest_risk(action: str | None, tool: str | None = None) -> float:
    """The risk of ``adapter.verb``, of the riskiest verb of a tool, or 0.1 where neither is known."""
    if action is not None and (spec := ACTIONS.get(action)) is not None:
        return spec.risk
    return _RISK_OF_TOOL.get(tool or (action or "").partition(".")[0], DEFAULT_RISK)


def _risk_of_tools() -> Mapping[str, float]:
    risks: dict[str, float] = {}
    for spec in ACTIONS.values():
        risks[spec.adapter] = max(spec.risk, risks.get(spec.adapter, 0.0))
    return risks


_RISK_OF_TOOL: Final = _risk_of_tools()


def text_hash(text: str) -> str:
    """The hex SHA-256 by which a prompt is known where the prompt itself must not be kept."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
